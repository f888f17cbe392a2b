package dev.millrace.cuda;

import static dev.millrace.cuda.LaunchRules.COLUMN_TILE;
import static dev.millrace.cuda.LaunchRules.THREADS;
import static dev.millrace.cuda.LaunchRules.WARPS;

import dev.millrace.cuda.driver.Geometry;
import java.util.Locale;

/** Which kernel multiplies a matrix with up to {@link LaunchRules#FEW} rows, and in how many blocks. */
final class VectorRules {
    /** Columns up to which warps of a block of several input rows take more tiles of a row each. */
    private static final int NARROW = 2048;

    /** Column tiles of a block format from which four blocks share them. */
    private static final int SHARED_COLUMNS = 16;

    /** Row tiles of a cluster: the most that its sums have room for, and those from which bytes are what counts. */
    private static final int MOST_ROW_TILES = 128;
    private static final int MANY_ROW_TILES = 32;

    /** Bytes that a warp reads of a row of a plain format at once, and how many such steps of a row two blocks share. */
    private static final int STEP = 32 * 16;

    private static final int SHARED_STEPS = 16;

    /** Steps of a warp up to which it asks for nearly all before it waits, and pairs of rows of a cluster: room for their sums. */
    private static final int FEW_STEPS = 5;

    private static final int MOST_PAIRS = 1024;

    /** Row tiles up to which every warp of a block has a place for its part of the sums of each. */
    private static final int FEW_ROW_TILES = 7;

    private static final int ROWS_OF_A_WARP = 2;

    private final int multiprocessors;
    private final int sharedLimit;
    private final boolean tiles;
    private final int[] clusters;

    /**
     * @param sharedLimit the most shared memory that a block takes
     * @param tiles whether the device has compute capability 9.0, as {@link LaunchRules} says
     * @param clusters at n, how many clusters of n blocks run at once
     */
    VectorRules(int multiprocessors, int sharedLimit, boolean tiles, int[] clusters) {
        this.multiprocessors = multiprocessors;
        this.sharedLimit = sharedLimit;
        this.tiles = tiles;
        this.clusters = clusters.clone();
    }

    /**
     * A matrix-vector launch.
     *
     * @param kernel its name
     * @param slices warps that share a row; for one input row, the least row tiles (plain formats: pairs of rows) of each cluster
     */
    record Vector(String kernel, Geometry geometry, int slices) {}

    /**
     * Two blocks of 8 warps a multiprocessor, with as many rounds for each. A warp takes two rows of a plain format, or
     * a tile of a block format; warps share rows that are longer than 8 steps of 32 vectors, and tiles while there are
     * too few of them to have one each; where they are many and short, a warp takes as many of a row as it loads ahead twice.
     * For one row of input see {@link #clustered} and {@link #paired}.
     */
    Vector of(Matrix w, int m) {
        if (m == 1 && w.format().quantized()) {
            return clustered(w);
        }
        if (m == 1 && tiles) {
            return paired(w);
        }
        String kernel = "gemv_" + w.format().name().toLowerCase(Locale.ROOT);
        int slices = 1;
        int units;
        if (w.format().quantized()) {
            units = Math.ceilDiv(w.rows(), Format.ROW_TILE);
            int columns = w.ld() / COLUMN_TILE;
            slices = WARPS;
            while (slices > 1 && (slices > columns || units * slices / 2 >= 24 * multiprocessors)) {
                slices /= 2;
            }
            int twoTurns = 2 * (w.format() == Format.Q8_0 ? 2 : 4);
            while (w.ld() <= NARROW && slices > 2 && columns < twoTurns * slices && units * slices / 2 >= 15 * multiprocessors) {
                slices /= 2;
            }
            kernel += m > 2 ? "_many" : "_two";
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
        int together = together(w, m);
        int groups = w.format().quantized() ? Math.ceilDiv(m, together) : 1;
        return new Vector(kernel, Geometry.of(blocks, groups, THREADS, together * sharedRow(w)), slices);
    }

    /**
     * One input row and a block format: a cluster's blocks share the columns, clusters the rows. Four blocks where rows are long,
     * and an eighth fewer clusters than there is room for, so that the next launch's start meanwhile; but two, and all of them, where
     * rows are many.
     */
    private Vector clustered(Matrix w) {
        int units = Math.ceilDiv(w.rows(), Format.ROW_TILE);
        int columns = w.ld() / COLUMN_TILE;
        int fours = clusters[4] * 7 / 8;
        int blocks = columns < SHARED_COLUMNS || fours == 0 ? 1 : units <= MANY_ROW_TILES * fours ? 4 : 2;
        int atOnce = blocks == 1 ? 2 * multiprocessors : blocks == 2 ? Math.max(1, clusters[2]) : fours;
        int count = Math.min(units, atOnce * Math.ceilDiv(units, MOST_ROW_TILES * atOnce));
        int rows = units / count;
        int sums = Math.max(sumsOf(rows, blocks), sumsOf(Math.ceilDiv(units, count), blocks));
        int column = sharedRow(w) / columns;
        String kernel = "gemv_" + w.format().name().toLowerCase(Locale.ROOT);
        int shared = sums + Math.ceilDiv(columns, blocks) * column;
        return new Vector(kernel, new Geometry(count, 1, blocks, THREADS, shared, blocks), rows);
    }

    /**
     * One input row and a plain format, on compute capability 9.0: two blocks share long rows; all of the card, but three quarters of
     * it where a matrix is so small that blocks have asked for it before their input is there, so that the next launch's start meanwhile.
     */
    private Vector paired(Matrix w) {
        int units = Math.ceilDiv(w.rows(), ROWS_OF_A_WARP);
        int column = STEP / (w.format() == Format.F32 ? 4 : 2);
        int steps = Math.ceilDiv(w.ld(), column);
        boolean small = (long) units * steps <= (long) FEW_STEPS * WARPS * 2 * multiprocessors;
        int blocks = steps >= SHARED_STEPS && !small && clusters[2] > 0 ? 2 : 1;
        int atOnce = blocks == 2 ? clusters[2] : small ? Math.max(1, 3 * multiprocessors / 2) : 2 * multiprocessors;
        int count = Math.ceilDiv(units, Math.min(MOST_PAIRS, Math.ceilDiv(units, atOnce)));
        int pairs = units / count;
        int sums = Math.max(sumsOfPairs(pairs, blocks), sumsOfPairs(Math.ceilDiv(units, count), blocks));
        String kernel = "gemv_" + w.format().name().toLowerCase(Locale.ROOT) + "_one";
        int shared = sums + Math.ceilDiv(steps, blocks) * column * Float.BYTES;
        return new Vector(kernel, new Geometry(count, 1, blocks, THREADS, shared, blocks), pairs);
    }

    /** Bytes of shared memory for the sums of so many pairs of rows. */
    private static int sumsOfPairs(int pairs, int blocks) {
        int ofWarps = pairs * (pairs < WARPS ? WARPS : 2);
        return 2 * Float.BYTES * (Format.roundUp(Format.roundUp(pairs, blocks), 2) + ofWarps);
    }

    /** Bytes of shared memory for the sums of so many row tiles. */
    private static int sumsOf(int rows, int blocks) {
        int ofWarps = rows * (rows <= FEW_ROW_TILES ? WARPS : 2);
        return Float.BYTES * Format.ROW_TILE * (Math.ceilDiv(rows, blocks) * blocks + ofWarps);
    }

    /** Bytes of shared memory for a row of x: floats, or three bytes each with a scale and, q4_1, a sum a block. */
    private static int sharedRow(Matrix w) {
        if (!w.format().quantized()) {
            return 4 * w.ld();
        }
        return 3 * w.ld() + w.ld() / 8 * (w.format() == Format.Q4_1 ? 2 : 1);
    }

    /** Input rows that a block holds at once: 1, 2 or 4. */
    private int together(Matrix w, int m) {
        int rows = m > 2 ? 4 : m;
        while (rows > 1 && rows * sharedRow(w) > sharedLimit) {
            rows /= 2;
        }
        return rows;
    }
}
