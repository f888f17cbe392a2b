package dev.millrace.cuda;

import static dev.millrace.cuda.LaunchRules.THREADS;
import static dev.millrace.cuda.LaunchRules.WARPS;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Op;
import dev.millrace.cuda.driver.Geometry;

/**
 * Which layers a single row passes in two launches, and in how many blocks. Compute capability 9.0; plain formats of models so small
 * that a cluster's blocks hold all the weights of a head, or of their share of the hidden units, in shared memory, and block formats by
 * {@link TiledLayerRules}.
 */
final class LayerRules {
    /** Blocks of a cluster. */
    static final int BLOCKS = 8;

    /** Columns of a block's share of the stream: four a lane. */
    private static final int MOST_WIDTH = BLOCKS * 128;

    private static final int WORK_WIDTH = Math.max(MOST_WIDTH, TiledLayerRules.MOST_WIDTH);

    /** Parts that the stream is summed up from. */
    static final int MOST_PARTS = 32;

    private static final int MOST_HEAD_DIM = 128;

    /** Shared memory that a kernel declares itself, and that the device takes for a block. */
    private static final int OTHER_SHARED = 6 * 1024;

    /** Keys that a block holds at once take as many bytes, divided by those of a weight; values as many again. */
    private static final int CHUNK = 32 * 1024;

    private final int multiprocessors;
    private final int sharedLimit;
    private final int clusters;
    private final TiledLayerRules tiled;

    /**
     * @param sharedBytesPerBlock the most shared memory that the device gives a block
     */
    LayerRules(int multiprocessors, int sharedBytesPerBlock, Clusters clusters) {
        this.multiprocessors = multiprocessors;
        this.sharedLimit = sharedBytesPerBlock;
        this.clusters = clusters.atOnce()[BLOCKS];
        this.tiled = new TiledLayerRules(sharedBytesPerBlock - OTHER_SHARED, clusters);
    }

    /** Bytes of the streams and their parts, of two launches in turn. */
    static long workBytes() {
        return 2L * Float.BYTES * WORK_WIDTH * (1 + MOST_PARTS);
    }

    /** Where one of the two lies, and its parts. */
    static long stream(long work, int which) {
        return work + (long) Float.BYTES * WORK_WIDTH * which;
    }

    static long parts(long work, int which) {
        return work + (long) Float.BYTES * WORK_WIDTH * (2 + MOST_PARTS * which);
    }

    /**
     * @param chunk positions whose keys and values a block holds at once, of plain formats
     * @param kernel what its kernel's name ends in, after the format
     */
    record Attention(Geometry geometry, int chunk, String kernel) {}

    /**
     * @param units hidden units of a cluster; the last may have fewer
     * @param kernel what its kernel's name ends in, after the format
     */
    record Mlp(Geometry geometry, int units, String kernel) {
        int parts() {
            return geometry.gridX();
        }
    }

    /**
     * A cluster a head; null where that is not possible.
     *
     * @param reach positions of the context, see {@link Shape#reach}
     */
    Attention attention(Matrix qkv, Matrix o, Op.Attention op, KvFormat kv, int reach) {
        if (qkv.format().quantized()) {
            return tiled.attention(qkv, o, op, kv, reach);
        }
        int dim = op.headDim();
        int width = qkv.columns();
        boolean fits = plain(qkv, o)
                && streams(width)
                && op.causal()
                && dim % BLOCKS == 0
                && dim <= MOST_HEAD_DIM
                && op.heads() <= MOST_PARTS
                && o.rows() == width
                && o.columns() == op.heads() * dim
                && qkv.rows() == (op.heads() + 2 * op.kvHeads()) * dim;
        if (!fits) {
            return null;
        }
        int size = bytes(qkv);
        int chunk = CHUNK / size / (dim * kv.bytes());
        int rows = 3 * dim / BLOCKS;
        int weights = size * (rows * width + width / BLOCKS * dim);
        int floats = width + 4 * dim + rows + 2 * WARPS * (dim + 2);
        int shared = weights + 2 * chunk * dim * kv.bytes() + Float.BYTES * floats;
        boolean room = shared <= sharedLimit - OTHER_SHARED && op.heads() <= (large(shared) ? clusters / 2 : clusters);
        return room ? new Attention(geometry(op.heads(), BLOCKS, shared), chunk, "") : null;
    }

    /**
     * As many clusters as there are multiprocessors for their blocks, a quarter fewer where a block takes more than half
     * of one's shared memory; null where that is not possible.
     */
    Mlp mlp(Matrix up, Matrix down, boolean gated) {
        if (up.format().quantized()) {
            return tiled.mlp(up, down, gated);
        }
        int hidden = down.columns();
        int sides = gated ? 2 : 1;
        boolean fits = plain(up, down)
                && streams(up.columns())
                && hidden % BLOCKS == 0
                && up.rows() == hidden * sides
                && down.rows() == up.columns();
        if (!fits) {
            return null;
        }
        for (boolean large : new boolean[] {false, true}) {
            int most = Math.min(MOST_PARTS, Math.min(large ? clusters / 2 : clusters, multiprocessors * (large ? 3 : 4) / (4 * BLOCKS)));
            if (most == 0) {
                return null;
            }
            int units = Format.roundUp(Math.ceilDiv(hidden, most), BLOCKS);
            int rows = units / BLOCKS * sides;
            int weights = bytes(up) * (rows * up.columns() + down.rows() / BLOCKS * units);
            int shared = weights + Float.BYTES * (up.columns() + units + rows);
            int count = Math.ceilDiv(hidden, units);
            if (large ? shared <= sharedLimit - OTHER_SHARED : !large(shared)) {
                return new Mlp(geometry(count, BLOCKS, shared), units, "");
            }
        }
        return null;
    }

    /** One launch that adds up what the last layer left. */
    Geometry sum(int width) {
        return Geometry.of(Math.ceilDiv(width, 128), THREADS);
    }

    private static boolean plain(Matrix a, Matrix b) {
        return !a.format().quantized() && a.format() == b.format();
    }

    private static boolean streams(int width) {
        return width <= MOST_WIDTH && width % (4 * BLOCKS) == 0;
    }

    private static int bytes(Matrix w) {
        return w.format() == Format.F32 ? 4 : 2;
    }

    /** Whether a multiprocessor has no room for two blocks of so much shared memory. */
    private boolean large(int shared) {
        return shared > sharedLimit / 2 - OTHER_SHARED;
    }

    /** So many clusters of so many blocks. */
    static Geometry geometry(int count, int blocks, int shared) {
        return new Geometry(count, 1, blocks, THREADS, shared, blocks, true);
    }
}
