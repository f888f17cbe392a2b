package dev.millrace.core.executor;

/**
 * How a graph is prepared.
 *
 * @param maxTokens the most tokens processed at once; longer forwards are cut into chunks of this size, which changes
 *     no result beyond rounding. Scratch memory grows with it. 0 leaves it to the executor
 * @param progress is told while weights are laid out; where it throws, compiling ends with that and leaves nothing behind
 */
public record CompileOptions(int maxTokens, Progress progress) {
    public static final CompileOptions DEFAULT = new CompileOptions(0);

    /** How far a long piece of work is. */
    @FunctionalInterface
    public interface Progress {
        /**
         * Called now and then by the thread that works.
         *
         * @param done bytes of weights laid out so far
         * @param all bytes there are, the same in every call
         */
        void at(long done, long all);
    }

    public CompileOptions {
        if (maxTokens < 0) {
            throw new IllegalArgumentException("maxTokens " + maxTokens + ": must be 0 (choose) or more");
        }
    }

    /** Tells nobody. */
    public CompileOptions(int maxTokens) {
        this(maxTokens, (done, all) -> {});
    }

    public CompileOptions withProgress(Progress told) {
        return new CompileOptions(maxTokens, told);
    }
}
