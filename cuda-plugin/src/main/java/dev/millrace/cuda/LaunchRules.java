package dev.millrace.cuda;

import dev.millrace.cuda.driver.Geometry;
import java.util.Locale;

/** How many blocks and threads each kernel gets, as the comments of {@code abi.cuh} say. */
final class LaunchRules {
    /** Rows up to which a linear map runs as matrix-vector products. */
    static final int FEW = 8;

    static final int THREADS = 256;
    static final int WARPS = THREADS / 32;

    /** Rows of a tile of a product. */
    static final int TILE = 128;
    private static final int SMALL_SHARED = 12 * 16384;

    /** Widths of the tiles that the copy engine brings, and their stages. */
    private static final int[][] TILES = {{256, 4}, {192, 5}, {160, 5}, {128, 6}};

    /** Tokens of a block of a product of a short prompt, and its stages, of which two blocks' fill a multiprocessor. */
    private static final int[][] SHORTS = {{128, 4}, {64, 6}, {32, 8}};

    private static final int SHORT_THREADS = 160;
    private static final int SHORT_OUTPUTS = 64;
    static final int MOST_CLUSTER = 8;

    static final int TILES_THREADS = 384;

    /** What sharing inputs costs beside tiles, whose blocks leave others no room to start in. */
    private static final int BESIDE_TILES = 6000;

    /** What tiles cost beside blocks that start while those before them end, as tiles cannot. */
    private static final int BESIDE_SHORTS = 2000;

    /** Tokens from which on most products of a prompt run as tiles. */
    private static final int MANY_TOKENS = 257;

    /** Rows of a matrix that are expanded at once end at tiles of every width. */
    private static final int EXPAND_STEP = 1280;

    private static final long MOST_EXPANDED = 192L << 20;

    private static final int MOST_SHARED = 200 * 1024;
    private static final int STATIC_SHARED = 8 * 1024;
    static final int COLUMN_TILE = 128;

    private final int multiprocessors;
    private final int sharedLimit;
    private final boolean tiles;
    private final int[] clusters;
    private final StrictProducts strictProducts;
    private final AttentionRules attention;
    private final LayerRules layers;
    private final VectorRules vectors;

    /**
     * @param sharedBytesPerBlock the most shared memory that the device gives a block
     * @param tiles whether it has a copy engine and matrix units of compute capability 9.0
     */
    LaunchRules(int multiprocessors, int sharedBytesPerBlock, boolean tiles, Clusters clusters) {
        this.multiprocessors = multiprocessors;
        this.tiles = tiles;
        this.clusters = clusters.atOnce();
        this.sharedLimit = Math.min(MOST_SHARED, sharedBytesPerBlock - STATIC_SHARED);
        this.strictProducts = new StrictProducts(multiprocessors, sharedLimit);
        this.attention = new AttentionRules(multiprocessors, tiles, clusters.atOnce());
        this.vectors = new VectorRules(multiprocessors, sharedLimit, tiles, clusters.atOnce());
        this.layers = new LayerRules(multiprocessors, sharedBytesPerBlock, clusters);
    }

    int multiprocessors() {
        return multiprocessors;
    }

    AttentionRules attention() {
        return attention;
    }

    LayerRules layers() {
        return layers;
    }

    VectorRules vectors() {
        return vectors;
    }

    /**
     * A matrix-matrix launch: tiles of the result, and shares of the inputs.
     *
     * @param kernel its name
     * @param shares how many shares; of a strict product, how many tiles are shared out among all blocks
     * @param tokens rows of x that the copy engine brings at once; 0 where the kernel loads for itself
     * @param outputs rows of the matrix that it brings at once
     */
    record Product(String kernel, Geometry geometry, int shares, int tokens, int outputs) {}

    /** A launch and the clocks that it was fitted to take, but for what every launch takes. */
    record Costed(Product product, double clocks) {
        Costed or(Costed other) {
            return other == null || clocks <= other.clocks ? this : other;
        }
    }

    /**
     * On compute capability 9.0 the cheapest of what the copy engine feeds. Elsewhere, and for block formats, tiles of
     * 128 x 128; of 64 x 64, with the inputs shared out, where those would leave half of the device idle. Strict products
     * are the same everywhere.
     */
    Product product(Matrix w, int m, boolean gated, boolean strict) {
        if (w.format() == Format.F32 && strict) {
            return strictProducts.product(w, m);
        }
        if (tiles) {
            return tiles(w, m, gated).or(shorts(w, m, gated)).product();
        }
        int squares = Math.ceilDiv(m, TILE) * Math.ceilDiv(w.rows(), TILE);
        if (!w.format().quantized() && 2 * squares <= multiprocessors && sharedLimit >= SMALL_SHARED) {
            Geometry g = small(w, m, gated);
            return new Product(name(w.format()) + "_small", g, g.gridZ(), 0, 0);
        }
        int shared = w.format().quantized() ? 67584 : 3 * 32768;
        Geometry g = Geometry.of(Math.ceilDiv(m, TILE), Math.ceilDiv(w.rows(), TILE), THREADS, shared);
        return new Product(name(w.format()), g, 1, 0, 0);
    }

    private static String name(Format format) {
        return "gemm_" + (format == Format.F32 ? "tf32" : format.name().toLowerCase(Locale.ROOT));
    }

    /** Whether a matrix of that format is expanded to float16 before a matrix-matrix product. */
    boolean expands(Format format) {
        return tiles && format.quantized();
    }

    /** How many of its rows are expanded at once. */
    int expandedRows(Matrix w) {
        long step = 2L * w.ld() * EXPAND_STEP;
        return (int) Math.min(Format.roundUp(w.rows(), Format.ROW_TILE), Math.max(1, MOST_EXPANDED / step) * EXPAND_STEP);
    }

    Geometry expand(Matrix w, int rows) {
        return Geometry.of(Math.ceilDiv(w.ld(), WARPS * COLUMN_TILE), Math.ceilDiv(rows, Format.ROW_TILE), THREADS, 0);
    }

    /** Bytes for what {@link #expandedRows} are expanded to; none where no matrix ever is. */
    long expandedBytes(Matrix w) {
        return tiles && w.format().quantized() ? 2L * expandedRows(w) * w.ld() : 0;
    }

    private static int steps(Matrix w) {
        return Math.ceilDiv(w.columns() * (w.format().compute() == Format.F32 ? 4 : 2), 128);
    }

    private static String engine(Matrix w) {
        return name(w.format().compute());
    }

    /**
     * Blocks stay and take tile after tile: 4 clocks a column for 128 bytes of inputs, and what starts and ends cost. Or two
     * blocks share a tile's inputs, as a cluster, where the device has room for all of them at once.
     */
    private Costed tiles(Matrix w, int m, boolean gated) {
        int steps = steps(w);
        Costed best = null;
        for (int[] kind : TILES) {
            int columns = kind[0];
            if (Format.roundUp(w.rows(), columns) < reached(w, gated)) {
                continue;
            }
            int count = Math.ceilDiv(m, TILE) * Math.ceilDiv(w.rows(), columns);
            for (int s = 1; s <= 2 && (s == 1 || (count <= clusters[s] / 2 && steps >= 4 * s)); s++) {
                int share = Math.ceilDiv(steps, s);
                if (Math.ceilDiv(steps, share) != s) {
                    continue;
                }
                long waves = Math.ceilDiv(count * s, multiprocessors);
                long cost = waves * (4L * share * columns + 3000 + 20 * columns) + (s > 1 ? 4000 : 0)
                        + (m < MANY_TOKENS ? BESIDE_SHORTS : 0);
                int shared = kind[1] * (TILE + columns) * 128 + 20480 + 128;
                Geometry g = new Geometry(s > 1 ? count : Math.min(multiprocessors, count), 1, s, TILES_THREADS, shared, s);
                best = new Costed(new Product(engine(w) + "_tiles" + columns, g, s, TILE, columns), cost).or(best);
            }
        }
        return best;
    }

    /**
     * A block a tile and a share, the shares of a tile a cluster: clocks by the tokens of a tile for 128 bytes of inputs, for
     * the end and for what is exchanged. Half as many blocks again as there are multiprocessors still run beside those of
     * the kernels before and after.
     */
    private Costed shorts(Matrix w, int m, boolean gated) {
        int steps = steps(w);
        int across = Math.ceilDiv(reached(w, gated), SHORT_OUTPUTS);
        Costed best = null;
        for (int[] kind : SHORTS) {
            int tokens = kind[0];
            int down = Math.ceilDiv(m, tokens);
            for (int s = 1; s <= Math.min(MOST_CLUSTER, steps); s++) {
                int share = Math.ceilDiv(steps, s);
                if (Math.ceilDiv(steps, share) != s) {
                    continue;
                }
                double full = (double) down * across * s / (1.5 * multiprocessors);
                double cost = (s > 1 && m >= MANY_TOKENS ? BESIDE_TILES : 0) + 2500 + Math.max(1, full) * (share * (5.5 * tokens + 330) + 27 * tokens)
                        + (s > 1 ? 700 + 400 * s + 24 * tokens : 0) + (full > 1 ? 3250 : 0);
                int shared = kind[1] * ((SHORT_OUTPUTS + tokens) * 128 + 16);
                Geometry g = new Geometry(down, across, s, SHORT_THREADS, shared, s);
                Product product = new Product(engine(w) + "_short" + tokens, g, s, tokens, SHORT_OUTPUTS);
                best = new Costed(product, cost).or(best);
            }
        }
        return best;
    }

    /** Rows whose outputs reach the end of a padded row. */
    private static int reached(Matrix w, boolean gated) {
        return gated ? Format.roundUp(w.rows(), TILE) : w.rows();
    }

    private Geometry small(Matrix w, int m, boolean gated) {
        int across = Math.ceilDiv(reached(w, gated), TILE / 2);
        int down = Math.ceilDiv(m, TILE / 2);
        int steps = Math.ceilDiv(w.ld() * (w.format() == Format.F32 ? 4 : 2), 128);
        int shares = Math.max(1, Math.min(8, Math.min(multiprocessors / (down * across), steps / 3)));
        shares = Math.ceilDiv(steps, Math.ceilDiv(steps, shares));
        return new Geometry(down, across, shares, THREADS, SMALL_SHARED);
    }

    /** Bytes of work space for what {@link #product} shares out other than in clusters. */
    long productWork(boolean exact) {
        long one = (long) TILE * TILE;
        long shared = tiles ? 0 : multiprocessors * one / 4;
        // a block leaves a share of two tiles at most, and two blocks of the largest run at once
        return Float.BYTES * (exact ? Math.max(shared, 4 * multiprocessors * one) : shared);
    }

    Geometry pool(int sequences, int width) {
        return Geometry.of(Math.ceilDiv(width, 256), sequences, THREADS, 0);
    }

    /**
     * The kernel that normalizes rows: by warps, where one holds a row that is normalized as a whole. Long rows need blocks of their
     * own as long as these run at once.
     */
    String normalize(NormRef norm, int rows, int width) {
        boolean whole = norm != null && norm.group() == width && width % 4 == 0;
        if (!whole || width > (rows > 2 * multiprocessors ? 2048 : 1024)) {
            return "normalize";
        }
        return width > 1024 ? "normalize_warps_wide" : "normalize_warps";
    }

    /** Its blocks, of four rows where warps hold them. */
    Geometry norms(String kernel, int rows) {
        return kernel.equals("normalize") ? Geometry.of(rows, THREADS) : Geometry.of(Math.ceilDiv(rows, 4), 128);
    }

    Geometry rows(int rows, int threads) {
        return Geometry.of(rows, threads);
    }

    Geometry elements(int rows, int width) {
        return Geometry.of(Math.ceilDiv(width, 1024), rows, THREADS, 0);
    }
}
