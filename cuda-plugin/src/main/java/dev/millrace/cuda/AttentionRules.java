package dev.millrace.cuda;

import static dev.millrace.cuda.LaunchRules.MOST_CLUSTER;
import static dev.millrace.cuda.LaunchRules.THREADS;
import static dev.millrace.cuda.LaunchRules.TILES_THREADS;
import static dev.millrace.cuda.LaunchRules.WARPS;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Op;
import dev.millrace.cuda.driver.Geometry;

/** How many blocks and threads attention's kernels get, and which of them runs. */
final class AttentionRules {
    /** Query heads that one block of the single-token attention serves. */
    static final int HEADS_PER_BLOCK = 2;

    /** The longest head that attention kernels hold. */
    static final int MOST_HEAD_DIM = 256;

    private static final int TILES_QUERIES = 128;

    /** Queries, and keys, values and weights of four warps. */
    private static final int STRICT64_SHARED = 8192 + 4 * (8192 + 8192 + 4096);

    /** Tokens of a slice up to which every block of attention prepares the keys it needs. */
    private static final int FEW_QUERIES = 128;

    /** Tokens of a slice up to which attention runs in blocks of 16 queries: beyond, each reads too many keys. */
    private static final int MOST_SMALL_BLOCKS = 512;

    private final int multiprocessors;
    private final boolean tiles;
    private final int[] clusters;

    /**
     * @param tiles whether the device has a copy engine and matrix units of compute capability 9.0
     * @param clusters at n, how many clusters of n blocks of decoding run at once
     */
    AttentionRules(int multiprocessors, boolean tiles, int[] clusters) {
        this.multiprocessors = multiprocessors;
        this.tiles = tiles;
        this.clusters = clusters.clone();
    }

    /**
     * Parts of the context that blocks of the single-token attention share out; parts below 64 positions cost more to put
     * together than they save.
     */
    private int splits(int reach, int rows, int headGroups) {
        return Math.clamp(Math.min(2 * multiprocessors / (headGroups * rows), reach / 64), 1, 64);
    }

    /**
     * Attention of single tokens. The blocks that share out a context are a cluster, and neighbours in {@code z}, where one has room
     * for more than three quarters of those that have work, and the device for all clusters and some more; else neighbours in {@code x}.
     */
    Geometry ofOne(Op.Attention op, int rows, int reach) {
        int heads = Math.min(HEADS_PER_BLOCK, op.heads() / op.kvHeads());
        int groups = AttentionStep.headGroups(op);
        int floats = heads * WARPS * (op.headDim() + 2);
        int splits = splits(reach, rows, groups);
        int busy = Math.min(splits, Math.ceilDiv(reach, leastShare(op.headDim())));
        for (int n = Math.min(MOST_CLUSTER, busy); n > 1 && 4 * n > 3 * busy; n--) {
            if (clusters[n] * 7 / 8 >= (long) groups * rows) {
                int met = heads * (op.headDim() + 2 * n) + n;
                return new Geometry(rows, groups, n, THREADS, Float.BYTES * (floats + met), n);
            }
        }
        return new Geometry(splits, groups, rows, THREADS, Float.BYTES * floats);
    }

    /** Positions that a block takes at once: the fewer, the more lanes hold a head's vector. */
    private static int leastShare(int headDim) {
        int lanes = headDim % 8 != 0 || headDim > 128 ? 32 : headDim > 64 ? 16 : 8;
        return 2048 / lanes;
    }

    private boolean onTiles(Op.Attention op) {
        return tiles && (op.headDim() == 64 || op.headDim() == 128);
    }

    /** Whether attention of slices that long appends to the cache in the same launch. */
    boolean appends(Op.Attention op, RopeRef rope, long kvOffset, int longest) {
        boolean wholeLanes = rope == null || rope.table().rotaryDim() % (rope.interleaved() ? 8 : 16) == 0;
        return onTiles(op) && op.causal() && longest <= FEW_QUERIES && wholeLanes && kvOffset % 8 == 0;
    }

    /**
     * The launch that attends and appends to the cache where nothing is to be prepared, neither by norms nor by rotation nor
     * by another format than float16; null where no kernel does. Blocks of 16 queries of a head, or of 128.
     */
    Attend plain(Op.Attention op, long kvOffset, int longest, int sequences) {
        if (op.headDim() != 64 || !op.causal() || kvOffset % 8 != 0 || (longest > MOST_SMALL_BLOCKS && !tiles)) {
            return null;
        }
        return longest <= MOST_SMALL_BLOCKS
                ? new Attend("attn_few", new Geometry(op.heads(), Math.ceilDiv(longest, 16), sequences, THREADS, 0))
                : new Attend("attn_tiles64_appends", ofMany(op, longest, sequences).geometry());
    }

    /** A launch of attention. */
    record Attend(String kernel, Geometry geometry) {}

    /** Attention of slices of few tokens: blocks of 64 queries of a head. */
    Geometry ofFew(Op.Attention op, int longest, int sequences) {
        int shared = op.headDim() / 64 * (8192 + 4 * 16384) + 64;
        return new Geometry(op.heads(), Math.ceilDiv(longest, 64), sequences, TILES_THREADS, shared);
    }

    /** Attention of longer slices: blocks of 64 or 128 queries of a head. */
    Attend ofMany(Op.Attention op, int longest, int sequences) {
        if (onTiles(op)) {
            int shared = op.headDim() / 64 * 5 * 16384 + 64;
            Geometry g = new Geometry(op.heads(), Math.ceilDiv(longest, TILES_QUERIES), sequences, TILES_THREADS, shared);
            return new Attend("attn_tiles" + op.headDim(), g);
        }
        int shared = 4 * 64 * (2 * paddedHead(op.headDim()) + 16);
        return new Attend("attn_prefill", new Geometry(Math.ceilDiv(longest, 64), op.heads(), sequences, 128, shared));
    }

    /** The same in strict float32: blocks of 32 queries for heads of 64 where everything is float32 and aligned, else of 64. */
    Attend ofManyStrict(Op.Attention op, KvFormat kv, long kvOffset, int longest, int sequences) {
        if (op.headDim() == 64 && kv == KvFormat.F32 && kvOffset % 4 == 0) {
            Geometry g = new Geometry(op.heads(), Math.ceilDiv(longest, 32), sequences, 128, STRICT64_SHARED);
            return new Attend("attn_strict64", g);
        }
        int shared = 4 * (3 * 64 * (paddedHead(op.headDim()) + 4) + 64 * 68);
        return new Attend("attn_prefill_f32", new Geometry(Math.ceilDiv(longest, 64), op.heads(), sequences, 256, shared));
    }

    /** Bytes of shared memory that a block of attention asks for. */
    int sharedBytes(Op.Attention op, boolean strict) {
        Attend attend = strict ? ofManyStrict(op, KvFormat.F32, 0, 1, 1) : ofMany(op, 1, 1);
        return attend.geometry().sharedBytes();
    }

    private static int paddedHead(int dim) {
        for (int padded : new int[] {64, 96, 128}) {
            if (dim <= padded) {
                return padded;
            }
        }
        return MOST_HEAD_DIM;
    }
}
