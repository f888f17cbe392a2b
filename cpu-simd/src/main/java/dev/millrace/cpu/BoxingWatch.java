package dev.millrace.cpu;

import java.lang.management.CompilationMXBean;
import java.lang.management.ManagementFactory;

/**
 * Looks whether one kind of step, decoding or a piece of a prompt, allocates much once it is compiled. It does when the
 * compiler keeps vectors as objects, and is many times slower then; nothing else would show it. Costs a look at the clock
 * for the first steps.
 */
final class BoxingWatch {
    /** However few steps there were: so slow that they may be what is looked for. */
    private static final long LONG_NANOS = 10_000_000_000L;

    private static final int LOOKS = 2;

    /** For so long the JIT must have done next to nothing: code that waits for it keeps vectors as objects, too. */
    private static final long REST_NANOS = 2_000_000_000L;

    private static final double REST_SHARE = 0.05;

    private final String step;
    /** Looks are this many steps and nanoseconds apart: by the second, a busy machine has compiled its kernels too. */
    private final int apart;

    private final long nanos;
    /**
     * Bytes a step above which it is no mere rest of code that runs too seldom to be compiled: one matrix product with
     * vectors as objects allocates more.
     */
    private final long many;

    private int looks;
    private int steps;
    private long since;
    private long restSince;
    private long compiled;
    private long before;
    private boolean looking;

    private BoxingWatch(String step, int apart, long nanos, long many) {
        this.step = step;
        this.apart = apart;
        this.nanos = nanos;
        this.many = many;
    }

    /** Of steps of one token for each sequence. */
    static BoxingWatch decoding() {
        return new BoxingWatch("a token", 100, 1_500_000_000L, 1 << 16);
    }

    /** Of prompts, a chunk at a time. */
    static BoxingWatch prompts() {
        return new BoxingWatch("a piece of a prompt", 4, 4_000_000_000L, 1 << 20);
    }

    /** A step starts. */
    void before() {
        if (looks == LOOKS) {
            return;
        }
        long now = System.nanoTime();
        if (steps++ == 0) {
            since = now;
        }
        looking = now - since > (steps > apart ? nanos : LONG_NANOS) && rests(now);
        if (looking) {
            ColdStart.watch();
            before = allocated();
        }
    }

    private boolean rests(long now) {
        CompilationMXBean jit = ManagementFactory.getCompilationMXBean();
        if (jit == null || !jit.isCompilationTimeMonitoringSupported()) {
            return true;
        }
        if (now - restSince < REST_NANOS) {
            return false;
        }
        long millis = jit.getTotalCompilationTime();
        boolean rests = restSince != 0 && (millis - compiled) * 1e6 < REST_SHARE * (now - restSince);
        compiled = millis;
        restSince = now;
        return rests;
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
        looks = bytes > many ? looks + 1 : LOOKS;
        if (looks == LOOKS && bytes > many) {
            PerformanceCliff.BOXED_VECTORS.say("cpu-simd allocates " + bytes + " bytes " + step + ": the JVM keeps vectors"
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
