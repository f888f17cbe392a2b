package dev.millrace.bench.measure;

import java.util.Arrays;
import java.util.function.BooleanSupplier;
import java.util.function.DoubleSupplier;

/** Repeats a timing until the JIT and the caches have settled, then takes the samples. */
public final class Steady {
    /** Settled: this many timings in a row within this share of each other, C2 at rest after each. */
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
        return seconds(repeats, stop, timing, Optimizer::busy);
    }

    static double[] seconds(int repeats, BooleanSupplier stop, DoubleSupplier timing, BooleanSupplier compiling) {
        double[] samples = new double[repeats];
        int taken = 0;
        double last = warmUp(stop, timing, compiling);
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
        return warmUp(stop, timing, Optimizer::busy);
    }

    /**
     * @param compiling whether code that may be timed is about to be replaced by faster code: timings before that say
     *     nothing, however even they are
     */
    private static double warmUp(BooleanSupplier stop, DoubleSupplier timing, BooleanSupplier compiling) {
        double[] last = new double[CALM];
        long start = System.nanoTime();
        int settled = 0; // timings since C2 was last at work
        while (settled < MOST_WARMUPS && !stop.getAsBoolean()) {
            double seconds = timing.getAsDouble();
            if (compiling.getAsBoolean()) {
                settled = 0;
            } else {
                last[settled++ % CALM] = seconds;
            }
            double least = Stats.of(last).min();
            double most = Stats.of(last).max();
            boolean calm = settled >= CALM && most - least <= SPREAD * most;
            if (calm || (System.nanoTime() - start) * 1e-9 > MOST_WARMUP_SECONDS) {
                return seconds;
            }
        }
        return 0;
    }
}
