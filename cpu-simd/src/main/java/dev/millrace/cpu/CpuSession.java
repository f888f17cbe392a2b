package dev.millrace.cpu;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Op;
import dev.millrace.cpu.kv.KvCache;
import dev.millrace.cpu.matmul.WeightMemory;
import java.util.List;
import java.util.Objects;

/** Tokens, and one cache for each causal attention, in one piece of native memory. */
final class CpuSession implements Session {
    private final CpuProgram program;
    private final int[] tokens;
    private final KvCache[] caches;
    private final WeightMemory memory;
    private final long bytes;
    private int position;
    private boolean closed;

    CpuSession(CpuProgram program, List<Op.Attention> kept, int capacity, KvFormat kv) {
        if (capacity < 1) {
            throw new MillraceException("a session of " + capacity + " tokens: it needs room for at least one");
        }
        this.program = program;
        this.caches = new KvCache[kept.size()];
        this.bytes = kept.stream()
                .mapToLong(a -> KvCache.bytes(a.kvHeads(), a.headDim(), capacity, kv))
                .reduce(0, Math::addExact);
        Machine.requireMemory(
                "a session of " + capacity + " tokens", bytes, "a shorter context or a float16 cache (--kv f16)");
        this.tokens = new int[capacity];
        this.memory = new WeightMemory();
        if (!kept.isEmpty()) {
            var segment = memory.allocate(bytes);
            long at = 0;
            for (int i = 0; i < caches.length; i++) {
                Op.Attention a = kept.get(i);
                caches[i] = KvCache.in(segment, at, a.kvHeads(), a.headDim(), capacity, kv);
                at += KvCache.bytes(a.kvHeads(), a.headDim(), capacity, kv);
            }
        }
    }

    KvCache[] caches() {
        if (closed) {
            throw new MillraceException("the session is closed");
        }
        return caches;
    }

    /** Bytes of its caches. */
    long bytes() {
        return bytes;
    }

    void append(int[] from, int at, int n) {
        System.arraycopy(from, at, tokens, position, n);
        position += n;
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
    public void close() {
        if (!closed) {
            closed = true;
            memory.close();
            program.closed(this);
        }
    }
}
