package dev.millrace.core.executor;

import dev.millrace.core.MillraceException;
import java.util.Set;

/**
 * How to open a device.
 *
 * @param threads worker threads, the calling one included; 0 lets the executor choose
 * @param math what float32 matrix multiplication may round to
 */
public record ExecutorOptions(int threads, Math math) {
    /** Precision of float32 matrix multiplication. Other formats are not affected. */
    public enum Math {
        /** Float32 products and sums throughout. */
        F32,
        /** Products of TF32 (10-bit mantissa) operands on matrix units. */
        TF32
    }

    /** What not every executor honours; each names in {@link ExecutorProvider#honours} those that it does. */
    public enum Kind {
        THREADS,
        TF32
    }

    public static final ExecutorOptions DEFAULT = new ExecutorOptions(0, Math.F32);

    public ExecutorOptions {
        if (threads < 0) {
            throw new IllegalArgumentException("threads " + threads + ": must be 0 (choose) or more");
        }
    }

    /**
     * Refuses what an executor does not honour.
     *
     * @throws MillraceException naming the executor and the option
     */
    public void require(String executor, Set<Kind> honoured) {
        if (threads != 0 && !honoured.contains(Kind.THREADS)) {
            throw new MillraceException(
                    "executor " + executor + " has no worker threads to choose: leave out --threads " + threads);
        }
        if (math == Math.TF32 && !honoured.contains(Kind.TF32)) {
            throw new MillraceException(
                    "executor " + executor + " has no TF32 products: leave out --math tf32");
        }
    }

    /** The same without what an executor does not honour. */
    public ExecutorOptions only(Set<Kind> honoured) {
        return new ExecutorOptions(
                honoured.contains(Kind.THREADS) ? threads : 0, honoured.contains(Kind.TF32) ? math : Math.F32);
    }
}
