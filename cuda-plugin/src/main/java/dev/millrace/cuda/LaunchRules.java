package dev.millrace.cuda;

import dev.millrace.core.graph.Op;
import dev.millrace.cuda.driver.Geometry;
import java.util.Locale;

/** How many blocks and threads each kernel gets, as the comments of {@code abi.cuh} say. */
final class LaunchRules {
    /** Rows up to which a linear map runs as matrix-vector products. */
    static final int FEW = 8;

    /** Query heads that one block of the single-token attention serves. */
    static final int HEADS_PER_BLOCK = 2;

    /** The longest head that attention kernels hold. */
    static final int MOST_HEAD_DIM = 256;

    private static final int THREADS = 256;
    private static final int WARPS = THREADS / 32;
    private static final int TILE = 128;
    private static final int SMALL_SHARED = 12 * 16384;
    private static final int MOST_SHARED_TILES = 1024;
    private static final int MOST_SHARED = 200 * 1024;
    private static final int STATIC_SHARED = 8 * 1024;
    private static final int ROWS_OF_A_WARP = 2;
    private static final int ROW_TILE = 16;
    private static final int COLUMN_TILE = 128;

    private final int multiprocessors;
    private final int sharedLimit;

    /** @param sharedBytesPerBlock the most shared memory that the device gives a block */
    LaunchRules(int multiprocessors, int sharedBytesPerBlock) {
        this.multiprocessors = multiprocessors;
        this.sharedLimit = Math.min(MOST_SHARED, sharedBytesPerBlock - STATIC_SHARED);
    }

    int multiprocessors() {
        return multiprocessors;
    }

    /**
     * A matrix-vector launch.
     *
     * @param slices warps that share a row
     */
    record Vector(Geometry geometry, int slices) {}

    /**
     * Two blocks of 8 warps a multiprocessor, with as many rounds for each. A warp takes two rows of a plain format, or
     * a tile of a block format; warps share rows that are longer than 8 steps of 32 vectors, and tiles while there are
     * too few of them to have one each.
     */
    Vector vector(Matrix w, int m) {
        int together = together(w, m);
        int slices = 1;
        int units;
        if (w.format().quantized()) {
            units = Math.ceilDiv(w.rows(), ROW_TILE);
            slices = WARPS;
            while (slices > 1 && (slices > w.ld() / COLUMN_TILE || units * slices / 2 >= 24 * multiprocessors)) {
                slices /= 2;
            }
        } else {
            units = Math.ceilDiv(w.rows(), ROWS_OF_A_WARP);
            int vectors = w.ld() / (w.format() == Format.F32 ? 4 : 8);
            while (slices < WARPS && Math.ceilDiv(vectors, 32 * slices) > 8) {
                slices *= 2;
            }
        }
        int perBlock = WARPS / slices;
        int rounds = Math.ceilDiv(units, 2 * multiprocessors * perBlock);
        int blocks = Math.ceilDiv(Math.ceilDiv(units, rounds), perBlock);
        return new Vector(Geometry.of(blocks, 1, THREADS, together * sharedRow(w)), slices);
    }

    private static int sharedRow(Matrix w) {
        return w.format().quantized() ? 4 * w.ld() + w.ld() / 8 : 4 * w.ld();
    }

    /** Input rows that a block holds at once: 1, 2 or 4. */
    private int together(Matrix w, int m) {
        int rows = m > 2 ? 4 : m;
        while (rows > 1 && rows * sharedRow(w) > sharedLimit) {
            rows /= 2;
        }
        return rows;
    }

    /**
     * Parts of the context that blocks of the single-token attention share out; parts below 64 positions cost more to put
     * together than they save.
     */
    int splits(int reach, int rows, int headGroups) {
        return Math.clamp(Math.min(2 * multiprocessors / (headGroups * rows), reach / 64), 1, 64);
    }

    /**
     * A matrix-matrix launch: tiles of the result, and in the third dimension shares of the inputs.
     *
     * @param kernel its name
     */
    record Product(String kernel, Geometry geometry) {}

    /**
     * Tiles of 128 x 128; of 64 x 64, with the inputs shared out, where those would leave half of the device idle. Strict
     * products share the inputs out so that the last wave of blocks is full.
     */
    Product product(Matrix w, int m, boolean gated, boolean strict) {
        boolean exact = w.format() == Format.F32 && strict;
        String name = "gemm_" + (w.format() == Format.F32 && !strict ? "tf32" : w.format().name().toLowerCase(Locale.ROOT));
        int tiles = Math.ceilDiv(m, TILE) * Math.ceilDiv(w.rows(), TILE);
        if (!w.format().quantized() && !exact && 2 * tiles <= multiprocessors && sharedLimit >= SMALL_SHARED) {
            return new Product(name + "_small", small(w, m, gated));
        }
        int shared = w.format().quantized() ? 67584 : exact ? 0 : 3 * 32768;
        Geometry g = new Geometry(
                Math.ceilDiv(m, TILE), Math.ceilDiv(w.rows(), TILE), exact ? shares(tiles, w) : 1, THREADS, shared);
        return new Product(name, g);
    }

    private Geometry small(Matrix w, int m, boolean gated) {
        int reached = gated ? Format.roundUp(w.rows(), TILE) : w.rows();
        int across = Math.ceilDiv(reached, TILE / 2);
        int down = Math.ceilDiv(m, TILE / 2);
        int steps = Math.ceilDiv(w.ld() * (w.format() == Format.F32 ? 4 : 2), 128);
        int shares = Math.max(1, Math.min(8, Math.min(multiprocessors / (down * across), steps / 3)));
        shares = Math.ceilDiv(steps, Math.ceilDiv(steps, shares));
        return new Geometry(down, across, shares, THREADS, SMALL_SHARED);
    }

    /** How many shares of the inputs leave least of the last wave empty; a share costs about 3%. */
    private int shares(int tiles, Matrix w) {
        int best = 1;
        double least = Double.MAX_VALUE;
        for (int s = 1; s <= 4 && (s == 1 || (tiles * s <= MOST_SHARED_TILES && w.columns() >= 256 * s)); s++) {
            double cost = (double) Math.ceilDiv(tiles * s, 2 * multiprocessors) / s * (1 + 0.03 * (s - 1));
            if (cost < least) {
                least = cost;
                best = s;
            }
        }
        return best;
    }

    /** Bytes of work space for what {@link #product} shares out. */
    long productWork(boolean exact) {
        long tiles = exact ? (long) MOST_SHARED_TILES * TILE * TILE : (long) multiprocessors * TILE * TILE / 4;
        return Float.BYTES * tiles;
    }

    Geometry attentionOfOne(Op.Attention op, int rows, int headGroups, int splits) {
        int heads = Math.min(HEADS_PER_BLOCK, op.heads() / op.kvHeads());
        return new Geometry(splits, headGroups, rows, THREADS, 4 * heads * WARPS * (op.headDim() + 2));
    }

    /** Attention of longer slices: blocks of 64 queries of a head. */
    Geometry attention(Op.Attention op, boolean strict, int longest, int sequences) {
        int head = paddedHead(op.headDim());
        int shared = strict ? 4 * (3 * 64 * (head + 4) + 64 * 68) : 4 * 64 * (2 * head + 16);
        return new Geometry(Math.ceilDiv(longest, 64), op.heads(), sequences, strict ? 256 : 128, shared);
    }

    private static int paddedHead(int dim) {
        for (int padded : new int[] {64, 96, 128}) {
            if (dim <= padded) {
                return padded;
            }
        }
        return MOST_HEAD_DIM;
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
