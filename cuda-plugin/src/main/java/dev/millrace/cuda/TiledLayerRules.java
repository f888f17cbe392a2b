package dev.millrace.cuda;

import static dev.millrace.cuda.LaunchRules.THREADS;
import static dev.millrace.cuda.LaunchRules.WARPS;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Op;
import dev.millrace.cuda.driver.Geometry;
import java.util.Locale;

/**
 * {@link LayerRules} of block formats. The tiles of their matrices decide: the blocks of a cluster share a stream's columns, one or two
 * column tiles each, and a cluster takes two heads of 64, a column tile of the output's matrix.
 */
final class TiledLayerRules {
    /** Columns of the stream: two tiles for each block of a cluster. */
    static final int MOST_WIDTH = 2048;

    /** Positions up to which a cluster's share of the context is shorter than what five launches take. */
    private static final int MOST_REACH = 2048;

    private static final int TILE = 128;
    private static final int HEADS = 2;
    private static final int HEAD_DIM = 64;

    /** Of a part of a head's attention: sums, the highest score and the total of the weights. */
    private static final int PART = HEAD_DIM + 2;

    /** Hidden units of a cluster begin in a column tile where they like, in steps of so many. */
    private static final int UNITS = 32;

    /** The same where a block has one column tile: as many as the eight warps take at once, two row tiles each. */
    private static final int UNITS_OF_ONE_TILE = 256;

    /** Of one cluster, with what its first column tile begins with. */
    private static final int MOST_UNITS = 1024;

    /** Parts of the stream that threads add up, four each, where a block has one column tile; half as many where it has two. */
    private static final int MOST_PARTS = 32;

    private static final int MOST_MLP_CLUSTERS = 16;

    private final int room;
    private final int clusters;

    /**
     * @param room bytes of shared memory that a block may ask for
     * @param clusters how many clusters of eight small blocks run at once, two blocks a multiprocessor; 0 for none
     */
    TiledLayerRules(int room, int clusters) {
        this.room = room;
        this.clusters = clusters;
    }

    /** How many blocks a cluster has for a stream, and column tiles each of them. */
    private record Cut(int blocks, int tiles) {
        static Cut of(int width) {
            int tiles = width > MOST_WIDTH / 2 ? 2 : 1;
            return new Cut(width / TILE / tiles, tiles);
        }

        static boolean possible(int width) {
            return width % TILE == 0 && width <= MOST_WIDTH && width == of(width).blocks * of(width).tiles * TILE && of(width).blocks > 1;
        }

        int mostParts() {
            return MOST_PARTS / tiles;
        }
    }

    /** Two heads a cluster; null where that is not possible. */
    LayerRules.Attention attention(Matrix qkv, Matrix o, Op.Attention op, KvFormat kv, int reach) {
        int width = qkv.columns();
        int ratio = op.heads() / op.kvHeads();
        boolean fits = qkv.format() == o.format()
                && Cut.possible(width)
                && reach <= MOST_REACH
                && op.causal()
                && op.headDim() == HEAD_DIM
                && op.heads() % HEADS == 0
                && (ratio == 1 || ratio % HEADS == 0)
                && op.heads() / HEADS <= Math.min(clusters, Cut.of(width).mostParts())
                && o.rows() == width
                && o.columns() == op.heads() * HEAD_DIM
                && qkv.rows() == (op.heads() + 2 * op.kvHeads()) * HEAD_DIM;
        if (!fits) {
            return null;
        }
        Cut cut = Cut.of(width);
        int sharing = Math.min(HEADS, ratio); // heads of the cluster that share keys
        int keys = HEADS / sharing;
        int rows = (HEADS + 2 * keys) * HEAD_DIM;
        int position = keys * HEAD_DIM * kv.bytes();
        int chunk = (cut.tiles == 2 ? 4 * 1024 : 8 * 1024) / position; // two of them, of keys and values each
        int scratch = Math.max(4 * THREADS, Math.max(cut.tiles * rows, WARPS * sharing * PART));
        int floats = cut.blocks * (rows + HEADS * PART) + rows + HEADS * (PART + HEAD_DIM) + scratch;
        int stages = qkv.format() == Format.Q8_0 ? 2 : 3;
        int shared = stages * pair(qkv.format()) + 4 * chunk * position + Float.BYTES * floats;
        String kernel = "_" + kv.name().toLowerCase(Locale.ROOT) + "_" + sharing;
        return shared > room ? null : new LayerRules.Attention(geometry(op.heads() / HEADS, cut, shared), chunk, kernel);
    }

    /**
     * As many clusters as there are multiprocessors for their blocks, one each: with two on one of them all wait for these. Null where
     * that is not possible.
     */
    LayerRules.Mlp mlp(Matrix up, Matrix down, boolean gated) {
        int hidden = down.columns();
        int width = up.columns();
        int rows = gated ? 2 * hidden : hidden;
        int most = Math.min(MOST_MLP_CLUSTERS, clusters / 2);
        boolean fits = up.format() == down.format()
                && Cut.possible(width)
                && most > 0
                && hidden % UNITS == 0
                && up.rows() == rows
                && down.rows() == width;
        if (!fits) {
            return null;
        }
        Cut cut = Cut.of(width);
        int units = cut.tiles == 2
                ? Format.roundUp(Math.ceilDiv(hidden, most), UNITS)
                : Format.roundUp(Math.ceilDiv(hidden, MOST_MLP_CLUSTERS), UNITS_OF_ONE_TILE);
        int before = TILE - UNITS;
        if (before + units > MOST_UNITS) {
            return null;
        }
        int share = Math.ceilDiv(units * (gated ? 2 : 1), Format.ROW_TILE * cut.blocks) * Format.ROW_TILE; // rows whose sums meet in a block
        int floats = 4 * THREADS + width / TILE * share + Format.roundUp(before + units, TILE);
        int stages = switch (up.format()) {
            case Q8_0 -> 2;
            case Q4_1 -> 5;
            default -> 6;
        };
        int shared = stages * pair(up.format()) + Float.BYTES * floats;
        return shared > room ? null : new LayerRules.Mlp(geometry(Math.ceilDiv(hidden, units), cut, shared), units);
    }

    /** Bytes of a pair of tiles for every warp. */
    private static int pair(Format format) {
        return Math.toIntExact(WARPS * 2 * (format.dataBytes(Format.ROW_TILE, TILE) + format.scaleBytes(Format.ROW_TILE, TILE)));
    }

    private static Geometry geometry(int count, Cut cut, int shared) {
        return LayerRules.geometry(count, cut.blocks, shared);
    }
}
