package dev.millrace.cpu.attention;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.cpu.Lanes;
import dev.millrace.cpu.kv.KvCache;
import dev.millrace.cpu.math.Elementwise;
import java.lang.foreign.Arena;
import java.util.Arrays;

/**
 * One worker's running softmax (Milakov and Gimelshein, 2018) over tiles of positions for up to {@link #rows} query
 * rows that share a key/value head: for every row a reference near its highest score so far, the sum of its weights
 * 2^(score - reference) and the weighted sum of the values. No more scores exist at once than rows times one tile.
 *
 * <p>A single weight, against StrictMath in double, is less than 4 ULP of the row's largest weight off, and less than 6 ULP of
 * itself where the difference of scores is exact. Elsewhere its own ULP says nothing: a difference of 16 is rounded by up to
 * 1e-6, which makes several ULP of 2^-16.
 */
final class TileScratch {
    /** Below any score, and finite: the difference of two of them is a number. */
    private static final float NONE = -1e30f;

    /** Up to as many rows, keys and values are not used often enough to be worth keeping near. */
    static final int STREAMED_ROWS = 8;

    private static final int L = Lanes.COUNT;
    private static final int TILE = KvCache.TILE;

    final int rows;
    final int headDim;
    final int padded;
    /** Query rows, already scaled, also by log2 e: [rows, headDim]. */
    final float[] q;
    /** First and last position that each row sees. */
    final int[] first;

    final int[] last;
    /** The positions of the current tile that any of four rows sees. */
    private final int[] from;

    private final int[] to;
    private final float[] scores;
    /** Whole numbers, no less than {@link SoftmaxKernels#SLACK} below a row's highest score. */
    final float[] reference;
    /** [rows, {@link SoftmaxKernels#SUMS}]. */
    final float[] sums;
    /** [rows, padded]. */
    final float[] out;
    /** Address of one tile of keys and, behind it, values as floats, when the cache holds float16. */
    private final long wide;

    private final long wideValues;
    /** Whether the kernels were not compiled yet when positions were last added. */
    private boolean plain;
    private final long wideBytes;

    TileScratch(int rows, int headDim, Arena arena) {
        this.rows = (rows + 3) / 4 * 4;
        this.headDim = headDim;
        this.padded = Lanes.padded(headDim);
        this.q = new float[this.rows * headDim];
        this.first = new int[this.rows];
        this.last = new int[this.rows];
        this.from = new int[this.rows / 4];
        this.to = new int[this.rows / 4];
        this.scores = new float[this.rows * TILE];
        this.reference = new float[this.rows];
        this.sums = new float[this.rows * SoftmaxKernels.SUMS];
        this.out = new float[this.rows * padded];
        long keyBytes = (long) TILE * headDim * Float.BYTES;
        this.wideBytes = keyBytes + (long) TILE * padded * Float.BYTES;
        this.wide = arena.allocate(wideBytes, 64).address();
        this.wideValues = wide + keyBytes;
    }

    /** Bytes it takes. */
    long bytes() {
        return wideBytes + 4L * (q.length + 2 * rows + rows / 2 + scores.length + rows + sums.length + out.length);
    }

    /** Forgets what was added to the first {@code count} rows. */
    void clear(int count) {
        Arrays.fill(reference, 0, count, NONE);
        Arrays.fill(sums, 0, count * SoftmaxKernels.SUMS, 0f);
        Arrays.fill(out, 0, count * padded, 0f);
    }

    /**
     * Adds the positions [from, to), of those that each of the first {@code count} rows sees. Once for each filling of
     * {@link #q}, which is used up.
     */
    void add(KvCache cache, int head, int count, int from, int to) {
        plain = PlainAttention.cold(cache.format(), count, to - from, headDim);
        if (plain) {
            PlainAttention.add(this, cache, head, count, from, to);
        } else {
            addVectors(cache, head, count, from, to);
        }
    }

    /** {@link #add} by vectors, compiled or not. */
    void addVectors(KvCache cache, int head, int count, int from, int to) {
        boolean halves = cache.format() == KvFormat.F16 && count < 4 && padded % (4 * L) == 0;
        if (halves) {
            Elementwise.scale(q, 0, count * headDim, HalfKernels.FACTOR);
        }
        for (int tile = from / TILE * TILE; tile < to; tile += TILE) {
            int begin = Math.max(from - tile, 0);
            int end = Math.min(to - tile, TILE);
            if (halves) {
                streamHalves(cache, head, count, tile, begin, end);
            } else if (count <= STREAMED_ROWS) {
                stream(cache, head, count, tile, begin, end);
            } else {
                multiply(cache, head, count, tile, begin, end);
            }
        }
    }

    /** Adds positions [tile + begin, tile + end) to few rows, block by block in the order of addresses. */
    private void stream(KvCache cache, int head, int count, int tile, int begin, int end) {
        boolean half = cache.format() == KvFormat.F16;
        int firstBlock = begin / L;
        int blocks = (end + L - 1) / L;
        long keyBytes = (long) L * headDim * cache.format().bytes();
        long keys = cache.keys(head, tile);
        for (int block = firstBlock; block < blocks; block++) {
            long at = keys + block * keyBytes;
            if (half) {
                HalfKernels.widen(at, wide, L * headDim);
                at = wide;
            }
            int r = 0;
            for (; r <= count - 4; r += 4) {
                AttentionKernels.block4(q, r * headDim, headDim, at, scores, r * TILE + block * L);
            }
            for (; r < count; r++) {
                AttentionKernels.block1(q, r * headDim, headDim, at, scores, r * TILE + block * L);
            }
        }
        for (int r = 0; r < count; r++) {
            hide(r * TILE, Math.max(begin, first[r] - tile), Math.min(end, last[r] + 1 - tile));
        }
        weigh(0, count);
        long values = cache.values(head, tile);
        if (!half) {
            values(values, count, begin, end);
            return;
        }
        for (int block = firstBlock; block < blocks; block++) {
            int low = Math.max(begin, block * L);
            int high = Math.min(end, block * L + L);
            long at = values + (long) low * padded * Short.BYTES;
            HalfKernels.widen(at, wide, (high - low) * padded);
            values(wide - (long) low * padded * Float.BYTES, count, low, high);
        }
    }

    /** The same for float16 and one to three rows, for which widening aside would take as long as everything else. */
    private void streamHalves(KvCache cache, int head, int count, int tile, int begin, int end) {
        long keys = cache.keys(head, tile);
        long values = cache.values(head, tile);
        for (int r = 0; r < count; r++) {
            for (int block = begin / L; block < (end + L - 1) / L; block++) {
                long at = keys + (long) block * L * headDim * Short.BYTES;
                HalfKernels.block1(q, r * headDim, headDim, at, scores, r * TILE + block * L);
            }
            hide(r * TILE, Math.max(begin, first[r] - tile), Math.min(end, last[r] + 1 - tile));
            weigh(r, r + 1);
            AttentionKernels.scale(scores, r * TILE, TILE, HalfKernels.FACTOR);
            for (int d = 0; d < padded; d += 4 * L) {
                long v = values + (long) d * Short.BYTES;
                HalfKernels.values1x4(scores, r * TILE, begin, end, v, padded, out, r * padded + d);
            }
        }
    }

    private void values(long values, int count, int from, int to) {
        int r = 0;
        for (; r <= count - 4; r += 4) {
            values4(values, r, from, to);
        }
        for (; r < count; r++) {
            values1(values, r, from, to);
        }
    }

    /** Adds positions [tile + begin, tile + end) to many rows, four at a time. */
    private void multiply(KvCache cache, int head, int count, int tile, int begin, int end) {
        long keys = cache.keys(head, tile);
        long values = cache.values(head, tile);
        if (cache.format() == KvFormat.F16) {
            HalfKernels.widen(keys, wide, TILE * headDim);
            HalfKernels.widen(values, wideValues, TILE * padded);
            keys = wide;
            values = wideValues;
        }
        // scores of all rows, then values of all rows: the tile's keys, then its values, stay in the first-level cache
        // rows come in the order of their positions: those that see the tile, or all of it, follow each other
        if (begin == 0 && end == TILE && first[count - 1] <= tile && last[0] >= tile + TILE - 1) {
            for (int r = 0; r < count; r += 4) {
                AttentionKernels.scores4(q, r * headDim, headDim, keys, scores, r * TILE);
            }
            weigh(0, count);
            for (int r = 0; r < count; r += 4) {
                values4(values, r, 0, TILE);
            }
            return;
        }
        int firstRow = count;
        int endRow = 0;
        for (int r = 0; r < count; r += 4) { // rows past the last one are there and are not written out
            int low = TILE;
            int high = 0;
            for (int i = r; i < Math.min(r + 4, count); i++) {
                low = Math.min(low, Math.max(begin, first[i] - tile));
                high = Math.max(high, Math.min(end, last[i] + 1 - tile));
            }
            from[r / 4] = low;
            to[r / 4] = high;
            if (low < high) {
                scores4(keys, r, low / L, (high + L - 1) / L);
                for (int i = r; i < Math.min(r + 4, count); i++) {
                    hide(i * TILE, Math.max(begin, first[i] - tile), Math.min(end, last[i] + 1 - tile));
                }
                firstRow = Math.min(firstRow, r);
                endRow = Math.min(r + 4, count);
            }
        }
        weigh(firstRow, endRow);
        for (int r = 0; r < count; r += 4) {
            if (from[r / 4] < to[r / 4]) {
                values4(values, r, from[r / 4], to[r / 4]);
            }
        }
    }

    /** The scores of 4 rows and the blocks [from, to) of a tile. */
    private void scores4(long keys, int r, int from, int to) {
        if (to - from == TILE / L) {
            AttentionKernels.scores4(q, r * headDim, headDim, keys, scores, r * TILE);
            return;
        }
        for (int block = from; block < to; block++) {
            long at = keys + (long) block * L * headDim * Float.BYTES;
            AttentionKernels.scores4x1(q, r * headDim, headDim, at, scores, r * TILE + block * L);
        }
    }

    private void values4(long values, int r, int from, int to) {
        int d = 0;
        for (; d <= padded - 4 * L; d += 4 * L) {
            long v = values + (long) d * Float.BYTES;
            AttentionKernels.values4x4(scores, r * TILE, from, to, v, padded, out, r * padded + d);
        }
        for (; d < padded; d += L) {
            long v = values + (long) d * Float.BYTES;
            AttentionKernels.values4x1(scores, r * TILE, from, to, v, padded, out, r * padded + d);
        }
    }

    private void values1(long values, int r, int from, int to) {
        int d = 0;
        for (; d <= padded - 4 * L; d += 4 * L) {
            long v = values + (long) d * Float.BYTES;
            AttentionKernels.values1x4(scores, r * TILE, from, to, v, padded, out, r * padded + d);
        }
        for (; d < padded; d += L) {
            long v = values + (long) d * Float.BYTES;
            AttentionKernels.values1x1(scores, r * TILE, from, to, v, padded, out, r * padded + d);
        }
    }

    /** Scores outside [from, to) of a tile count for nothing. */
    private void hide(int at, int from, int to) {
        for (int i = 0; i < Math.min(from, TILE); i++) {
            scores[at + i] = Float.NEGATIVE_INFINITY;
        }
        for (int i = Math.max(to, 0); i < TILE; i++) {
            scores[at + i] = Float.NEGATIVE_INFINITY;
        }
    }

    /** Turns the scores of rows [row, end) into weights. */
    private void weigh(int row, int end) {
        for (int r = SoftmaxKernels.above(scores, row, end, reference); r < end; ) {
            raise(r, SoftmaxKernels.highest(scores, r * TILE));
            r = SoftmaxKernels.above(scores, r + 1, end, reference);
        }
        SoftmaxKernels.weights(scores, row, end, reference, sums);
    }

    /** Makes the reference of a row one that {@code score} does not exceed, and what the row has relative to that. */
    void raise(int row, float score) {
        float now = (float) Math.ceil(score);
        if (reference[row] != NONE) {
            float factor = SoftmaxKernels.power(reference[row] - now);
            AttentionKernels.scale(sums, row * SoftmaxKernels.SUMS, SoftmaxKernels.SUMS, factor);
            AttentionKernels.scale(out, row * padded, padded, factor);
        }
        reference[row] = now;
    }

    /** Makes {@link #out} of the first {@code count} rows what attention gives. */
    void finish(int count) {
        for (int r = 0; r < count; r++) {
            AttentionKernels.scale(out, r * padded, padded, 1 / SoftmaxKernels.total(sums, r));
        }
    }

    /** Writes the finished rows: headDim floats each, to {@code y} from {@code at}. */
    void write(int row, float[] y, int at) {
        float scale = 1 / SoftmaxKernels.total(sums, row);
        if (plain) {
            for (int d = 0; d < headDim; d++) {
                y[at + d] = out[row * padded + d] * scale;
            }
        } else {
            Elementwise.scale(out, row * padded, y, at, headDim, scale);
        }
    }

    /** Copies the state of the first {@code count} rows to {@code target}, where {@link #merge} finds it. */
    void save(int count, float[] target, int at) {
        System.arraycopy(reference, 0, target, at, count);
        System.arraycopy(sums, 0, target, at + count, count * SoftmaxKernels.SUMS);
        System.arraycopy(out, 0, target, at + count + count * SoftmaxKernels.SUMS, count * padded);
    }

    /** Floats that {@link #save} takes. */
    static int savedSize(int count, int padded) {
        return count * (1 + SoftmaxKernels.SUMS + padded);
    }

    /** Adds what was saved of other positions of the same rows. */
    void merge(int count, float[] saved, int at) {
        int theirSums = at + count;
        int theirOut = theirSums + count * SoftmaxKernels.SUMS;
        for (int r = 0; r < count; r++) {
            float theirs = saved[at + r];
            float now = Math.max(reference[r], theirs);
            float mine = SoftmaxKernels.power(reference[r] - now);
            float factor = SoftmaxKernels.power(theirs - now);
            reference[r] = now;
            merge(sums, r * SoftmaxKernels.SUMS, SoftmaxKernels.SUMS, mine, saved, theirSums, factor);
            merge(out, r * padded, padded, mine, saved, theirOut, factor);
        }
    }

    /** {@code x[at + i] = x[at + i] * mine + theirs[theirsAt + at + i] * factor}. */
    private static void merge(float[] x, int at, int n, float mine, float[] theirs, int theirsAt, float factor) {
        for (int i = at; i < at + n; i++) {
            x[i] = x[i] * mine + theirs[theirsAt + i] * factor;
        }
    }
}
