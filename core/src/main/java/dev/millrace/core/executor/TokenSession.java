package dev.millrace.core.executor;

import dev.millrace.core.MillraceException;
import java.util.Objects;

/** What a session is on every device: the tokens processed so far. Where their keys and values lie is the subclass's. */
public abstract class TokenSession implements Session {
    private final Program program;
    private final int[] tokens;
    private int position;
    private boolean closed;

    /**
     * @param capacity most tokens it has room for
     * @throws MillraceException when that is none
     */
    protected TokenSession(Program program, int capacity) {
        this.tokens = new int[requireRoom(capacity)];
        this.program = program;
    }

    /**
     * Returns {@code capacity}; for those who allocate before there is a session.
     *
     * @throws MillraceException when it is less than 1
     */
    public static int requireRoom(int capacity) {
        if (capacity < 1) {
            throw new MillraceException("a session of " + capacity + " tokens: it needs room for at least one");
        }
        return capacity;
    }

    /** Counts a token as processed. */
    public final void append(int token) {
        tokens[position++] = token;
    }

    /** Counts tokens as processed. */
    public final void append(int[] more) {
        append(more, 0, more.length);
    }

    /** Counts {@code n} tokens from {@code from} on as processed. */
    public final void append(int[] more, int from, int n) {
        System.arraycopy(more, from, tokens, position, n);
        position += n;
    }

    @Override
    public final boolean isOpen() {
        return !closed;
    }

    @Override
    public final Program program() {
        return program;
    }

    @Override
    public final int capacity() {
        return tokens.length;
    }

    @Override
    public final int position() {
        return position;
    }

    @Override
    public final int token(int at) {
        return tokens[Objects.checkIndex(at, position)];
    }

    @Override
    public final void truncate(int to) {
        position = Objects.checkIndex(to, position + 1);
    }

    @Override
    public final void close() {
        if (!closed) {
            closed = true;
            release();
        }
    }

    /** Frees keys and values; called once. */
    protected abstract void release();
}
