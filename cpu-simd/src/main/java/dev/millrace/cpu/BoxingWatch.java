package dev.millrace.cpu;

import java.lang.management.ManagementFactory;

/**
 * Looks whether decoding allocates much once it is compiled. It does when the compiler keeps vectors as objects, and is many
 * times slower then; nothing else would show it. Costs nothing but at two steps.
 */
final class BoxingWatch {
    /** By then kernels have run thousands of times each. */
    private static final int FIRST = 100;
    /** A second look, since a busy machine compiles late. */
    private static final int SECOND = 200;

    /**
     * Bytes a token above which it is no mere rest of code that runs too seldom to be compiled: one matrix product with
     * vectors as objects allocates more.
     */
    private static final long MANY = 1 << 16;

    private int steps;
    private long before;
    private boolean suspected;

    /** A step of one token for each sequence starts. */
    void before() {
        steps++;
        if (steps == FIRST || (steps == SECOND && suspected)) {
            before = allocated();
        }
    }

    /** The step is over. */
    void after() {
        if (steps == FIRST) {
            suspected = allocated() - before > MANY;
        } else if (steps == SECOND && suspected) {
            long bytes = allocated() - before;
            if (bytes > MANY) {
                PerformanceCliff.BOXED_VECTORS.say("cpu-simd allocates " + bytes + " bytes a token: the JVM keeps"
                        + " vectors as objects, which is many times slower; try -D" + Lanes.PROPERTY
                        + " with another width, and leave out options that change the compiler");
            }
        }
    }

    /** Bytes that this thread has allocated; 0 where the JVM does not count them. */
    private static long allocated() {
        return ManagementFactory.getThreadMXBean() instanceof com.sun.management.ThreadMXBean threads
                ? threads.getCurrentThreadAllocatedBytes()
                : 0;
    }
}
