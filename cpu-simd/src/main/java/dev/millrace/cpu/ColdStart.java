package dev.millrace.cpu;

import java.util.ArrayDeque;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Kernels that are not compiled yet. Until the JIT has compiled a loop over vectors, each vector operation is an
 * interpreted call that allocates, some thousand times slower than it will be: the first token of a model of 17 MB took
 * 1.2 s. Plain loops over arrays are fast within milliseconds. So whoever calls kernels first asks whether they are
 * {@link #cold}, and computes the same with plain loops while they are: with the same operations in the same order where
 * each output has sums of its own (products, activations), else (norms, attention) the same up to the rounding of a sum.
 *
 * <p>The JIT spends a second of processor time on the kernels of a model, which the first tokens of a short prompt need
 * more. So only once plain loops have done as much work as such a prompt asks for does a background thread begin to run
 * the kernels, one group after the other, on work of their own until they are fast.
 *
 * <p>{@code -Dmillrace.cpu.coldstart=false} leaves all this out: what verifies or measures kernels must get the kernels.
 * The launcher gives it to the commands that do, the build to the tests.
 */
public final class ColdStart {
    /** Multiply-adds, or what takes as long, that the process computes before kernels are warmed up. */
    private static final long PATIENCE_OPERATIONS = 64L << 20;

    /** Fast this many times in a row. */
    private static final int STEADY = 3;

    /** What is not fast by then never will be. */
    private static final long PATIENCE_NANOS = 10_000_000_000L;

    private static final boolean ENABLED = Boolean.parseBoolean(System.getProperty("millrace.cpu.coldstart", "true"));

    private static final AtomicLong SPENT = new AtomicLong();
    private static final ArrayDeque<ColdStart> WAITING = new ArrayDeque<>();
    private static boolean working;

    /** Whether anyone was sent to plain loops; written by whoever is, without order. */
    private static boolean plain;

    private final long nanos;
    private final Runnable work;
    private volatile boolean over;
    private volatile boolean asked;

    /**
     * @param nanos slower than {@code work} takes when compiled, and much faster than when it is interpreted
     * @param work runs the kernels, by whatever way does not ask whether they are cold
     */
    public ColdStart(long nanos, Runnable work) {
        this(nanos, work, ENABLED);
    }

    ColdStart(long nanos, Runnable work, boolean enabled) {
        this.nanos = nanos;
        this.work = work;
        this.over = !enabled;
    }

    /**
     * Whether plain loops are to do what the kernels would.
     *
     * @param operations how much that is, in multiply-adds or what takes as long
     */
    public boolean cold(long operations) {
        if (over) {
            return false;
        }
        plain = true;
        if (!asked && SPENT.addAndGet(operations) > PATIENCE_OPERATIONS) {
            warmUp();
        }
        return true;
    }

    /** Begins a step of which {@link #wasPlain} then tells. */
    static void watch() {
        plain = false;
    }

    /** Whether plain loops have done any of the work since {@link #watch}. */
    static boolean wasPlain() {
        return plain;
    }

    /** Has the kernels run in the background until they are fast. */
    private void warmUp() {
        synchronized (WAITING) {
            if (asked) {
                return;
            }
            asked = true;
            WAITING.add(this);
            if (!working) {
                working = true;
                Thread.ofPlatform().daemon().name("cpu-simd warm-up").start(ColdStart::runAll);
            }
        }
    }

    private static void runAll() {
        for (ColdStart next = next(); next != null; next = next()) {
            try {
                next.run();
            } catch (RuntimeException e) {
                // whoever uses the kernels meets it, too
            }
        }
    }

    private static ColdStart next() {
        synchronized (WAITING) {
            working = !WAITING.isEmpty();
            return WAITING.poll();
        }
    }

    private void run() {
        try {
            int fast = 0;
            long start = System.nanoTime();
            long now = start;
            while (fast < STEADY && now - start < PATIENCE_NANOS) {
                long before = now;
                work.run();
                now = System.nanoTime();
                fast = now - before < nanos ? fast + 1 : 0;
            }
            if (fast < STEADY) {
                PerformanceCliff.SLOW_KERNELS.say("cpu-simd's kernels are not fast after " + PATIENCE_NANOS / 1_000_000_000
                        + " s of running them: other processes take the cores, or options keep the JVM from compiling"
                        + " (leave out -XX:TieredStopAtLevel, -XX:UseAVX, -XX:-Inline)");
            }
        } finally {
            over = true;
        }
    }
}
