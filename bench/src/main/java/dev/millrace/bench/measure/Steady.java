package dev.millrace.bench.measure;

import java.util.Arrays;
import java.util.function.BooleanSupplier;
import java.util.function.DoubleSupplier;

/** Repeats a timing until the JIT and the caches have settled, then takes the samples. */
public final class Steady {
    /** Settled: this many timings in a row within this share of each other. */
    private static final int CALM = 3;

    private static final double SPREAD = 0.03;
    private static final int MOST_WARMUPS = 30;
    private static final double MOST_WARMUP_SECONDS = 12;

    private Steady() {}

    /**
     * The seconds of {@code repeats} timings after warming up; fewer when stopped. One that takes longer than any warm-up is
     * taken as it is.
     *
     * @param stop asked between timings
     */
    public static double[] seconds(int repeats, BooleanSupplier stop, DoubleSupplier timing) {
        double[] samples = new double[repeats];
        int taken = 0;
        double last = warmUp(stop, timing);
        if (last > MOST_WARMUP_SECONDS) {
            samples[taken++] = last; // it was its own warm-up
        }
        while (taken < repeats && !stop.getAsBoolean()) {
            samples[taken++] = timing.getAsDouble();
        }
        return Arrays.copyOf(samples, taken);
    }

    /** Repeats a timing until it has settled and returns the last one. */
    public static double warmUp(BooleanSupplier stop, DoubleSupplier timing) {
        double[] last = new double[CALM];
        long start = System.nanoTime();
        for (int i = 0; i < MOST_WARMUPS && !stop.getAsBoolean(); i++) {
            double seconds = timing.getAsDouble();
            last[i % CALM] = seconds;
            double least = Stats.of(last).min();
            double most = Stats.of(last).max();
            boolean calm = i + 1 >= CALM && most - least <= SPREAD * most;
            if (calm || (System.nanoTime() - start) * 1e-9 > MOST_WARMUP_SECONDS) {
                return seconds;
            }
        }
        return 0;
    }
}
