package dev.millrace.cuda;

import dev.millrace.core.executor.CompileOptions;
import java.util.function.IntToLongFunction;

/**
 * How many tokens are processed at once when nobody says: matrix units want many rows, so as many as memory allows. A
 * prompt of 1920 tokens of a 7B model ran at half the rate in pieces of 512.
 */
final class PrefillChunk {
    static final int MOST = 4096;
    static final int LEAST = 512;

    /** The share of the memory beside the weights that work space may take; the rest is for caches. */
    private static final int SHARE = 4;

    private PrefillChunk() {}

    static Lowering.Chunk of(CompileOptions options, long freeBytes) {
        return options.maxTokens() > 0
                ? (weights, bytesFor) -> options.maxTokens()
                : (weights, bytesFor) -> choose(freeBytes - weights, bytesFor);
    }

    /** The most tokens of {@link #MOST}, half of it and so on whose work space fits; at least {@link #LEAST}. */
    static int choose(long bytes, IntToLongFunction bytesFor) {
        int tokens = MOST;
        while (tokens > LEAST && bytesFor.applyAsLong(tokens) > bytes / SHARE) {
            tokens /= 2;
        }
        return tokens;
    }
}
