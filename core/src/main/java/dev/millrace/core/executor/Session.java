package dev.millrace.core.executor;

import dev.millrace.core.sampling.Sampling;

/**
 * One sequence: the tokens processed so far and their keys and values. In a graph without causal attention (an encoder)
 * every forward is a whole sequence of its own: it starts at position 0 and leaves the session there.
 */
public interface Session extends AutoCloseable {
    /** The program it belongs to. */
    Program program();

    /** Most tokens it has room for. */
    int capacity();

    /** Tokens processed so far; also the position of the next one. */
    int position();

    /** The token at {@code position}, of those processed. */
    int token(int position);

    /** Whether it has not been closed: {@link InputLimits} refuses a batch with a closed one. Here always true; {@link TokenSession} knows. */
    default boolean isOpen() {
        return true;
    }

    /** Forgets the tokens from {@code position} on. */
    void truncate(int position);

    /**
     * Processes {@code tokens}, then samples, hands the sampled token to {@code sink}, processes it, and so on until
     * {@code n} tokens were sampled, the sink returns false or the capacity is reached. The last sampled token is not
     * processed, so afterwards {@link #position} = position before + tokens.length + sampled - 1.
     *
     * <p>The token sampled at position p (it would be processed at p) is drawn as {@link
     * dev.millrace.core.sampling.Sampler} defines, with p as the counter of its random numbers.
     *
     * @return how many tokens were sampled
     */
    default int decode(int[] tokens, Sampling sampling, int n, TokenSink sink) {
        return DecodeLoop.run(this, tokens, sampling, n, sink);
    }

    @Override
    void close();

    /** Receives sampled tokens in order. */
    @FunctionalInterface
    interface TokenSink {
        /** Returns false to stop. */
        boolean accept(int token);
    }
}
