package dev.millrace.cuda;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.TokenSession;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.cuda.driver.DeviceBuffer;

/** A sequence: its tokens on the device, too, and its keys and values on the device as [kvHead][position][headDim] a layer. */
final class CudaSession extends TokenSession {
    private final CudaProgram program;
    private final KvFormat kv;
    private final DeviceBuffer memory;
    private final long historyAt;

    /** @param memory the cache and, from {@code historyAt} on, the tokens */
    CudaSession(CudaProgram program, int capacity, KvFormat kv, DeviceBuffer memory, long historyAt) {
        super(program, capacity);
        this.program = program;
        this.kv = kv;
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

    @Override
    public int decode(int[] prompt, Sampling sampling, int n, TokenSink sink) {
        return program.decode(this, prompt, sampling, n, sink);
    }

    @Override
    protected void release() {
        program.closed(this);
        memory.close();
    }
}
