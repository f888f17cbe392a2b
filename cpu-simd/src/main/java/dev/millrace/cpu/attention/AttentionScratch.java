package dev.millrace.cpu.attention;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Op;
import dev.millrace.cpu.kv.KvCache;
import java.lang.foreign.Arena;

/** Work space of all attention steps of one shape; layers run one after the other and share it. */
public final class AttentionScratch implements AutoCloseable {
    /** Query rows that go over the keys together: their queries, scores and sums stay in the second-level cache. */
    private static final int ROWS = 64;

    final int groups;
    /** Tokens of a block of queries. */
    final int tokensPerBlock;

    final TileScratch[] tiles;
    final float[][] key;
    final float[][] saved;
    private final int kvHeads;
    private final int headDim;
    private final Arena arena = Arena.ofShared();
    private Arena keptArena;
    private KvCache kept;
    private long keptPositions;

    public AttentionScratch(Op.Attention attention, int workers) {
        this.kvHeads = attention.kvHeads();
        this.headDim = attention.headDim();
        this.groups = attention.heads() / kvHeads;
        this.tokensPerBlock = Math.max(1, ROWS / groups);
        this.tiles = new TileScratch[workers];
        for (int w = 0; w < workers; w++) {
            tiles[w] = new TileScratch(tokensPerBlock * groups, headDim, arena);
        }
        this.key = new float[workers][headDim];
        this.saved = new float[workers][2 * TileScratch.savedSize(groups, tiles[0].padded)];
    }

    /** Whether {@code attention} can use it. */
    public boolean fits(Op.Attention attention) {
        return attention.kvHeads() == kvHeads
                && attention.headDim() == headDim
                && attention.heads() / attention.kvHeads() == groups;
    }

    /** Makes room for the keys and values of {@code positions} tokens of attention that keeps none. */
    public void ensure(long positions) {
        if (positions <= keptPositions) {
            return;
        }
        if (keptArena != null) {
            keptArena.close();
        }
        keptArena = Arena.ofShared();
        keptPositions = KvCache.positions(positions);
        var memory = keptArena.allocate(KvCache.bytes(kvHeads, headDim, keptPositions, KvFormat.F32), 64);
        kept = KvCache.in(memory, 0, kvHeads, headDim, keptPositions, KvFormat.F32);
    }

    /** Keys and values of the current chunk, for attention that keeps none. */
    KvCache kept() {
        return kept;
    }

    public long bytes() {
        long bytes = keptPositions == 0 ? 0 : KvCache.bytes(kvHeads, headDim, keptPositions, KvFormat.F32);
        for (int w = 0; w < tiles.length; w++) {
            bytes += tiles[w].bytes() + 4L * (headDim + saved[w].length);
        }
        return bytes;
    }

    @Override
    public void close() {
        arena.close();
        if (keptArena != null) {
            keptArena.close();
        }
    }
}
