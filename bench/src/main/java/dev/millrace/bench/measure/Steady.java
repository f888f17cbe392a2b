package dev.millrace.bench.measure;

import java.util.Arrays;
import java.util.function.BooleanSupplier;
import java.util.function.DoubleSupplier;
import java.util.function.LongSupplier;

/** Repeats a timing until the JIT and the caches have settled, then takes the samples. */
public final class Steady {
    /** Settled: this many timings in a row within this share of each other, C2 at rest after each. */
    private static final int CALM = 3;

    private static final double SPREAD = 0.03;

    /**
     * And C2 at rest for so long that it would have been called: a prompt of 16 tokens that takes 28 ms before it is compiled is
     * even, too.
     */
    private static final double LEAST_SECONDS_AT_REST = 1;

    /** Timings with C2 at rest, and seconds in all, after which uneven ones are taken as they are. */
    private static final int MOST_WARMUPS = 30;

    private static final double MOST_WARMUP_SECONDS = 12;

    private Steady() {}

    /**
     * What tells of time and of the code that runs.
     *
     * @param nanos the time
     * @param compiling whether code that may be timed is about to be replaced by faster code: timings before that say
     *     nothing, however even they are
     */
    record Watch(LongSupplier nanos, BooleanSupplier compiling) {
        static final Watch JVM = new Watch(System::nanoTime, Optimizer::busy);
    }

    /**
     * The seconds of {@code repeats} timings after warming up; fewer when stopped. One that takes longer than any warm-up is
     * taken as it is.
     *
     * @param stop asked between timings
     */
    public static double[] seconds(int repeats, BooleanSupplier stop, DoubleSupplier timing) {
        return seconds(repeats, stop, timing, Watch.JVM);
    }

    static double[] seconds(int repeats, BooleanSupplier stop, DoubleSupplier timing, Watch watch) {
        double[] samples = new double[repeats];
        int taken = 0;
        double last = warmUp(stop, timing, watch);
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
        return warmUp(stop, timing, Watch.JVM);
    }

    private static double warmUp(BooleanSupplier stop, DoubleSupplier timing, Watch watch) {
        double[] last = new double[CALM];
        long start = watch.nanos().getAsLong();
        long compiled = start; // when C2 was last seen at work
        int settled = 0; // timings since then
        double seconds = 0;
        while (!stop.getAsBoolean()) {
            seconds = timing.getAsDouble();
            long now = watch.nanos().getAsLong();
            if (watch.compiling().getAsBoolean()) {
                settled = 0;
                compiled = now;
            } else {
                last[settled++ % CALM] = seconds;
            }
            Stats few = Stats.of(last);
            boolean even = few.max() - few.min() <= SPREAD * few.max();
            boolean enough = settled >= CALM && (now - compiled) * 1e-9 >= LEAST_SECONDS_AT_REST;
            if (enough && (even || settled >= MOST_WARMUPS) || (now - start) * 1e-9 > MOST_WARMUP_SECONDS) {
                break;
            }
        }
        return seconds;
    }
}
