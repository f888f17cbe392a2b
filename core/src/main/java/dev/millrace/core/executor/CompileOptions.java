package dev.millrace.core.executor;

/**
 * How a graph is prepared.
 *
 * @param maxTokens the most tokens processed at once; longer forwards are cut into chunks of this size, which changes
 *     no result beyond rounding. Scratch memory grows with it. 0 leaves it to the executor
 */
public record CompileOptions(int maxTokens) {
    public static final CompileOptions DEFAULT = new CompileOptions(0);

    public CompileOptions {
        if (maxTokens < 0) {
            throw new IllegalArgumentException("maxTokens " + maxTokens + ": must be 0 (choose) or more");
        }
    }
}
