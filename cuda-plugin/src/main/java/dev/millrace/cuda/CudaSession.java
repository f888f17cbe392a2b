package dev.millrace.cuda;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.cuda.driver.DeviceBuffer;
import java.util.Objects;

/** A sequence: its tokens on both sides, and its keys and values on the device as [kvHead][position][headDim] a layer. */
final class CudaSession implements Session {
    private final CudaProgram program;
    private final KvFormat kv;
    private final int[] tokens;
    private final DeviceBuffer memory;
    private final long historyAt;
    private int position;
    private boolean open = true;

    /** @param memory the cache and, from {@code historyAt} on, the tokens */
    CudaSession(CudaProgram program, int capacity, KvFormat kv, DeviceBuffer memory, long historyAt) {
        this.program = program;
        this.kv = kv;
        this.tokens = new int[capacity];
        this.memory = memory;
        this.historyAt = historyAt;
    }

    long cacheAddress() {
        return memory.address();
    }

    long historyAddress() {
        return memory.address() + historyAt;
    }

    long bytes() {
        return memory.bytes();
    }

    KvFormat kv() {
        return kv;
    }

    void append(int[] more) {
        System.arraycopy(more, 0, tokens, position, more.length);
        position += more.length;
    }

    void append(int token) {
        tokens[position++] = token;
    }

    void requireOpen() {
        if (!open) {
            throw new IllegalStateException("the session is closed");
        }
    }

    @Override
    public Program program() {
        return program;
    }

    @Override
    public int capacity() {
        return tokens.length;
    }

    @Override
    public int position() {
        return position;
    }

    @Override
    public int token(int at) {
        return tokens[Objects.checkIndex(at, position)];
    }

    @Override
    public void truncate(int to) {
        position = Objects.checkIndex(to, position + 1);
    }

    @Override
    public int decode(int[] prompt, Sampling sampling, int n, TokenSink sink) {
        requireOpen();
        return program.decode(this, prompt, sampling, n, sink);
    }

    @Override
    public void close() {
        if (open) {
            open = false;
            program.closed(this);
            memory.close();
        }
    }
}
