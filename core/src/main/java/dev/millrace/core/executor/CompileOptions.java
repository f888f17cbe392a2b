package dev.millrace.core.executor;

/**
 * How a graph is prepared.
 *
 * @param maxTokens the most tokens processed at once; longer forwards are cut into chunks of this size, which changes
 *     no result beyond rounding. Scratch memory grows with it
 */
public record CompileOptions(int maxTokens) {
    public static final CompileOptions DEFAULT = new CompileOptions(512);

    public CompileOptions {
        if (maxTokens < 1) {
            throw new IllegalArgumentException("maxTokens " + maxTokens + ": must be at least 1");
        }
    }
}
