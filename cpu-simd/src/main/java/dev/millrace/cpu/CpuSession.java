package dev.millrace.cpu;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.TokenSession;
import dev.millrace.core.graph.Op;
import dev.millrace.cpu.kv.KvCache;
import dev.millrace.cpu.matmul.WeightMemory;
import java.util.List;

/** One cache for each causal attention, in one piece of native memory. */
final class CpuSession extends TokenSession {
    private final CpuProgram program;
    private final KvCache[] caches;
    private final WeightMemory memory;
    private final long bytes;

    CpuSession(CpuProgram program, List<Op.Attention> kept, int capacity, KvFormat kv) {
        requireRoom(capacity);
        long needed = kept.stream()
                .mapToLong(a -> KvCache.bytes(a.kvHeads(), a.headDim(), capacity, kv))
                .reduce(0, Math::addExact);
        Machine.requireMemory(
                "a session of " + capacity + " tokens", needed, "a shorter context or a float16 cache (--kv f16)");
        super(program, capacity);
        this.program = program;
        this.bytes = needed;
        this.caches = new KvCache[kept.size()];
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
        return caches;
    }

    /** Bytes of its caches. */
    long bytes() {
        return bytes;
    }

    @Override
    protected void release() {
        memory.close();
        program.closed(this);
    }
}
