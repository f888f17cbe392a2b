package dev.millrace.cuda;

import dev.millrace.core.graph.Op;
import dev.millrace.cuda.driver.Geometry;

/** How many blocks and threads each kernel gets, as the comments of {@code abi.cuh} say. */
final class LaunchRules {
    /** Rows up to which a linear map runs as matrix-vector products. */
    static final int FEW = 8;

    /** Query heads that one block of the single-token attention serves. */
    static final int HEADS_PER_BLOCK = 8;

    /** The longest head that attention kernels hold. */
    static final int MOST_HEAD_DIM = 256;

    private static final int THREADS = 256;
    private static final int WARPS = THREADS / 32;
    private static final int SHARED_LIMIT = 200 * 1024;
    private static final int ROW_TILE = 16;
    private static final int COLUMN_TILE = 128;

    private final int multiprocessors;

    LaunchRules(int multiprocessors) {
        this.multiprocessors = multiprocessors;
    }

    /**
     * A matrix-vector launch.
     *
     * @param slices warps that share a row
     * @param rowsPerWarp rows that a warp takes at once
     */
    record Vector(Geometry geometry, int slices, int rowsPerWarp) {}

    /** Splits the matrix among about sixteen warps a multiprocessor, with whole rounds for every block. */
    Vector vector(Matrix w, int m, boolean gated) {
        int warps = 16 * multiprocessors;
        int rows = 1;
        int slices = 1;
        int groups;
        if (w.format().quantized()) {
            groups = Math.ceilDiv(w.rows(), ROW_TILE);
            int columnTiles = w.ld() / COLUMN_TILE;
            while (slices < WARPS && groups * slices < warps && 2 * slices <= columnTiles) {
                slices *= 2;
            }
        } else {
            int vectors = w.ld() * (w.format() == Format.F32 ? 4 : 2) / 16;
            rows = gated ? 2 : 1;
            while (slices < WARPS && Math.ceilDiv(w.rows(), rows) * slices < warps && vectors >= 64 * slices) {
                slices *= 2;
            }
            int most = m > 1 ? 2 : 4;
            while (rows < most
                    && w.rows() / (2 * rows) * slices >= warps
                    && Math.ceilDiv(vectors, 32 * slices) * 2 * rows <= 8) {
                rows *= 2;
            }
            groups = Math.ceilDiv(w.rows(), rows);
        }
        int perBlock = WARPS / slices;
        int blocks = Math.ceilDiv(groups, perBlock);
        int rounds = Math.ceilDiv(blocks, 2 * multiprocessors);
        return new Vector(
                Geometry.of(Math.ceilDiv(blocks, rounds), 1, THREADS, vectorShared(w, m)), slices, rows);
    }

    private static int vectorShared(Matrix w, int m) {
        int each = w.format().quantized() ? 4 * w.ld() + 128 + w.ld() / 8 : 4 * w.ld();
        int together = m > 2 ? 4 : m;
        while (together > 1 && together * each > SHARED_LIMIT) {
            together /= 2;
        }
        return together * each;
    }

    /** Blocks of the kernels that share attention over few rows among parts of the context. */
    int splits(int reach, int rows, int headGroups) {
        int wanted = Math.ceilDiv(2 * multiprocessors, Math.max(1, rows * headGroups));
        return Math.clamp(Math.min(wanted, reach / 64), 1, 64);
    }

    /** A matrix-matrix launch: tiles of the result. */
    Geometry matrix(Matrix w, int m) {
        return Geometry.of(Math.ceilDiv(w.rows(), 128), Math.ceilDiv(m, 128), THREADS, 0);
    }

    Geometry append(Op.Attention op, int rows) {
        return Geometry.of(rows, Math.ceilDiv(op.heads() + 2 * op.kvHeads(), 4), 128, 0);
    }

    Geometry attentionOfOne(Op.Attention op, int rows, int headGroups, int splits) {
        return new Geometry(splits, headGroups, rows, 128, attentionOfOneShared(op));
    }

    private static int attentionOfOneShared(Op.Attention op) {
        int heads = Math.min(HEADS_PER_BLOCK, op.heads() / op.kvHeads());
        int queries = Integer.highestOneBit(Math.max(1, 2 * heads - 1));
        return 4 * (queries * op.headDim() + Math.max(op.headDim(), 4 * queries * (op.headDim() + 2)));
    }

    /** Attention of longer slices: blocks of 64 queries of a head. */
    Geometry attention(Op.Attention op, Format in, int longest, int sequences) {
        int padded = op.headDim() <= 128 ? Math.max(32, Format.roundUp(op.headDim(), 32)) : MOST_HEAD_DIM;
        int shared = 4 * (3 * 64 * (padded + 4) + 64 * 68);
        return new Geometry(Math.ceilDiv(longest, 64), op.heads(), sequences, THREADS, shared);
    }

    Geometry pool(int sequences, int width) {
        return Geometry.of(Math.ceilDiv(width, 256), sequences, THREADS, 0);
    }

    Geometry rows(int rows, int threads) {
        return Geometry.of(rows, threads);
    }

    Geometry elements(int rows, int width) {
        return Geometry.of(Math.ceilDiv(width, 1024), rows, THREADS, 0);
    }
}
