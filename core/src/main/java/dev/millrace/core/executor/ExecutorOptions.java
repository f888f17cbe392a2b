package dev.millrace.core.executor;

/**
 * How to open a device.
 *
 * @param threads worker threads, the calling one included; 0 lets the executor choose. An executor without worker
 *     threads refuses any other value
 * @param math what float32 matrix multiplication may round to
 */
public record ExecutorOptions(int threads, Math math) {
    /** Precision of float32 matrix multiplication. Other formats are not affected. */
    public enum Math {
        /** Float32 products and sums throughout. */
        STRICT,
        /** Products of TF32 (10-bit mantissa) operands on matrix units; executors without them refuse it. */
        TF32
    }

    public static final ExecutorOptions DEFAULT = new ExecutorOptions(0, Math.STRICT);

    public ExecutorOptions {
        if (threads < 0) {
            throw new IllegalArgumentException("threads " + threads + ": must be 0 (choose) or more");
        }
    }
}
