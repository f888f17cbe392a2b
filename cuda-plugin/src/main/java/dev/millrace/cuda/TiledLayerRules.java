package dev.millrace.cuda;

import static dev.millrace.cuda.LaunchRules.THREADS;
import static dev.millrace.cuda.LaunchRules.WARPS;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Op;
import java.util.Locale;

/**
 * {@link LayerRules} of block formats. The tiles of their matrices decide: the blocks of a cluster share a stream's columns, some column
 * tiles each, and a cluster takes two heads of 64 or 128, column tiles of the output's matrix. The kernels called wide are those for
 * four column tiles and more.
 */
final class TiledLayerRules {
    /** Columns of the stream: four tiles for each block of a cluster. */
    static final int MOST_WIDTH = 4096;

    /** Positions up to which a cluster's share of the context is shorter than what five launches take. */
    private static final int MOST_REACH = 2048;

    /** The same of 8-bit weights and heads of {@link #WIDE_HEAD_DIM}. */
    private static final int MOST_REACH_OF_LARGE_WEIGHTS = 1024;

    private static final int TILE = 128;
    private static final int HEADS = 2;
    private static final int HEAD_DIM = 64;
    private static final int WIDE_HEAD_DIM = 128;

    /** Column tiles of a block where heads are of {@link #WIDE_HEAD_DIM}. */
    private static final int MOST_TILES = 6;

    /** Hidden units of a cluster begin in a column tile where they like, in steps of so many. */
    private static final int UNITS = 32;

    /** The same where a block has one column tile: as many as the eight warps take at once, two row tiles each. */
    private static final int UNITS_OF_ONE_TILE = 256;

    /** Of one cluster, with what its first column tile begins with. */
    private static final int MOST_UNITS = 1024;

    private static final int MOST_UNITS_WIDE = 1280;
    private static final int MOST_MLP_CLUSTERS = 16;

    /** Beyond half of a multiprocessor's shared memory, with what the kernel declares itself. */
    private static final int BEYOND_HALF = 1024;

    private final int room;
    private final Clusters clusters;

    /**
     * @param room bytes of shared memory that a block may ask for
     */
    TiledLayerRules(int room, Clusters clusters) {
        this.room = room;
        this.clusters = clusters;
    }

    /**
     * @param blocks of a cluster
     * @param tiles column tiles of a block, at most
     */
    private record Cut(int blocks, int tiles) {
        /** One, two or four tiles for every block; null where that is not possible. */
        static Cut even(int width) {
            int tiles = width > MOST_WIDTH / 2 ? 4 : width > MOST_WIDTH / 4 ? 2 : 1;
            int blocks = width / TILE / tiles;
            return width <= MOST_WIDTH && width == blocks * tiles * TILE && blocks > 1 ? new Cut(blocks, tiles) : null;
        }

        boolean wide() {
            return tiles > 2;
        }

        /** Parts of the stream that the threads of a block add up. */
        int mostParts() {
            return tiles == 1 ? 32 : 16;
        }
    }

    /** As many blocks as find a multiprocessor each, and tiles as even as can be; null where that is not possible. */
    private Cut uneven(int width, int count) {
        int tiles = width / TILE;
        for (int blocks = Math.min(LayerRules.BLOCKS, tiles); blocks > 1; blocks--) {
            if (count <= clusters.alone()[blocks]) {
                int most = Math.ceilDiv(tiles, blocks);
                return most <= MOST_TILES ? new Cut(blocks, most) : null;
            }
        }
        return null;
    }

    /** Two heads a cluster; null where that is not possible. */
    LayerRules.Attention attention(Matrix qkv, Matrix o, Op.Attention op, KvFormat kv, int reach) {
        int width = qkv.columns();
        int dim = op.headDim();
        int count = op.heads() / HEADS;
        int ratio = op.heads() / op.kvHeads();
        Cut next = Cut.even(width); // of the launch that adds up what this one leaves
        boolean wide = dim == WIDE_HEAD_DIM;
        boolean fits = next != null
                && qkv.format() == o.format()
                && reach <= (wide && qkv.format() == Format.Q8_0 ? MOST_REACH_OF_LARGE_WEIGHTS : MOST_REACH)
                && op.causal()
                && (wide || dim == HEAD_DIM && !next.wide())
                && op.heads() % HEADS == 0
                && (ratio == 1 || ratio % HEADS == 0)
                && count <= Math.min(clusters.atOnce()[LayerRules.BLOCKS], next.mostParts())
                && o.rows() == width
                && o.columns() == op.heads() * dim
                && qkv.rows() == (op.heads() + 2 * op.kvHeads()) * dim;
        Cut cut = !fits ? null : wide ? uneven(width, count) : next;
        if (cut == null) {
            return null;
        }
        int sharing = Math.min(HEADS, ratio); // heads of the cluster that share keys
        int rows = (HEADS + 2 * (HEADS / sharing)) * dim;
        int part = dim + 2; // of a head's attention: sums, the highest score and the total of the weights
        int scratch = Math.max(4 * THREADS, Math.max(cut.tiles * rows, WARPS * sharing * part));
        int floats = cut.blocks * (rows + HEADS * part) + rows + HEADS * (part + dim) + scratch;
        int stages = switch (qkv.format()) {
            case Q8_0 -> wide ? 1 : 2;
            case Q4_1 -> wide ? 2 : 3;
            default -> 3;
        };
        int shared = stages * pair(qkv.format()) + Float.BYTES * floats;
        String kernel = "_" + kv.name().toLowerCase(Locale.ROOT) + (wide ? "_wide_" : "_") + sharing;
        return shared > room ? null : new LayerRules.Attention(LayerRules.geometry(count, cut.blocks, shared), 0, kernel);
    }

    /**
     * As many clusters as there are multiprocessors for their blocks, one each: with two on one of them all wait for these. Null where
     * that is not possible.
     */
    LayerRules.Mlp mlp(Matrix up, Matrix down, boolean gated) {
        int hidden = down.columns();
        int width = up.columns();
        int rows = gated ? 2 * hidden : hidden;
        int most = Math.min(MOST_MLP_CLUSTERS, clusters.atOnce()[LayerRules.BLOCKS] / 2);
        Cut cut = Cut.even(width);
        boolean fits = cut != null
                && up.format() == down.format()
                && most > 0
                && hidden % UNITS == 0
                && up.rows() == rows
                && down.rows() == width;
        if (!fits) {
            return null;
        }
        int units = switch (cut.tiles) {
            case 1 -> Format.roundUp(Math.ceilDiv(hidden, MOST_MLP_CLUSTERS), UNITS_OF_ONE_TILE);
            case 2 -> Format.roundUp(Math.ceilDiv(hidden, most), UNITS);
            default -> Format.roundUp(Math.ceilDiv(hidden, most), TILE); // a tile in two clusters is read twice
        };
        int before = cut.wide() ? 0 : TILE - UNITS;
        if (before + units > (cut.wide() ? MOST_UNITS_WIDE : MOST_UNITS)) {
            return null;
        }
        int share = Math.ceilDiv(units * (gated ? 2 : 1), Format.ROW_TILE * cut.blocks) * Format.ROW_TILE; // rows whose sums meet in a block
        int floats = 4 * THREADS + width / TILE * share + Format.roundUp(before + units, TILE);
        int stages = switch (up.format()) {
            case Q8_0 -> 2;
            case Q4_1 -> cut.wide() ? 4 : 5;
            default -> cut.wide() ? 4 : 6;
        };
        int least = cut.wide() ? room / 2 + BEYOND_HALF : 0;
        int shared = Math.max(least, stages * pair(up.format()) + Float.BYTES * floats);
        return shared > room ? null : new LayerRules.Mlp(LayerRules.geometry(Math.ceilDiv(hidden, units), cut.blocks, shared), units, cut.wide() ? "_wide" : "");
    }

    /** Bytes of a pair of tiles for every warp. */
    private static int pair(Format format) {
        return Math.toIntExact(WARPS * 2 * (format.dataBytes(Format.ROW_TILE, TILE) + format.scaleBytes(Format.ROW_TILE, TILE)));
    }
}
