package dev.millrace.cpu;

import java.lang.management.ManagementFactory;

/**
 * Looks whether decoding allocates much once it is compiled. It does when the compiler keeps vectors as objects, and
 * is many times slower then; nothing else would show it. Costs a look at the clock for the first steps.
 */
final class BoxingWatch {
    /** Looks are this many steps and nanoseconds apart: by the second, a busy machine has compiled its kernels too. */
    private static final int STEPS = 100;

    private static final long NANOS = 1_500_000_000L;
    /** However few steps there were: so slow that they may be what is looked for. */
    private static final long LONG_NANOS = 10_000_000_000L;

    private static final int LOOKS = 2;
    /**
     * Bytes a token above which it is no mere rest of code that runs too seldom to be compiled: one matrix product with
     * vectors as objects allocates more.
     */
    private static final long MANY = 1 << 16;

    private int looks;
    private int steps;
    private long since;
    private long before;
    private boolean looking;

    /** A step of one token for each sequence starts. */
    void before() {
        if (looks == LOOKS) {
            return;
        }
        long now = System.nanoTime();
        if (steps++ == 0) {
            since = now;
        }
        looking = now - since > (steps > STEPS ? NANOS : LONG_NANOS);
        if (looking) {
            ColdStart.watch();
            before = allocated();
        }
    }

    /** The step is over. */
    void after() {
        if (!looking) {
            return;
        }
        long bytes = allocated() - before;
        looking = false;
        steps = 0;
        if (ColdStart.wasPlain()) {
            return; // a step without kernels says nothing of them
        }
        looks = bytes > MANY ? looks + 1 : LOOKS;
        if (looks == LOOKS && bytes > MANY) {
            PerformanceCliff.BOXED_VECTORS.say("cpu-simd allocates " + bytes + " bytes a token: the JVM keeps vectors"
                    + " as objects, which is many times slower; try -D" + Lanes.PROPERTY + " with another width, and"
                    + " leave out options that change the compiler");
        }
    }

    /** Bytes that this thread has allocated; 0 where the JVM does not count them. */
    private static long allocated() {
        return ManagementFactory.getThreadMXBean() instanceof com.sun.management.ThreadMXBean threads
                ? threads.getCurrentThreadAllocatedBytes()
                : 0;
    }
}
