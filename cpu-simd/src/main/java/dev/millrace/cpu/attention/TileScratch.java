package dev.millrace.cpu.attention;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.cpu.Lanes;
import dev.millrace.cpu.kv.KvCache;
import dev.millrace.cpu.math.Elementwise;
import dev.millrace.cpu.math.VectorMath;
import java.lang.foreign.Arena;
import java.util.Arrays;

/**
 * One worker's running softmax (Milakov and Gimelshein, 2018) over tiles of positions for up to {@link #rows} query
 * rows that share a key/value head: for every row its highest score so far, the sum of its exponentials and the
 * weighted sum of the values, all scaled to that highest score. No more scores exist at once than rows times one tile.
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
    /** Query rows, already scaled: [rows, headDim]. */
    final float[] q;
    /** First and last position that each row sees. */
    final int[] first;

    final int[] last;
    /** The positions of the current tile that any of four rows sees. */
    private final int[] from;

    private final int[] to;
    private final float[] scores;
    final float[] highest;
    final float[] sums;
    /** [rows, padded]. */
    final float[] out;
    /** Address of one tile of keys and, behind it, values as floats, when the cache holds float16. */
    private final long wide;

    private final long wideValues;
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
        this.highest = new float[this.rows];
        this.sums = new float[this.rows];
        this.out = new float[this.rows * padded];
        long keyBytes = (long) TILE * headDim * Float.BYTES;
        this.wideBytes = keyBytes + (long) TILE * padded * Float.BYTES;
        this.wide = arena.allocate(wideBytes, 64).address();
        this.wideValues = wide + keyBytes;
    }

    /** Bytes it takes. */
    long bytes() {
        return wideBytes + 4L * (q.length + 2 * rows + rows / 2 + scores.length + 2 * rows + out.length);
    }

    /** Forgets what was added to the first {@code count} rows. */
    void clear(int count) {
        for (int r = 0; r < count; r++) {
            highest[r] = NONE;
            sums[r] = 0;
        }
        Arrays.fill(out, 0, count * padded, 0f);
    }

    /**
     * Adds the positions [from, to), of those that each of the first {@code count} rows sees. Once for each filling of
     * {@link #q}, which is used up.
     */
    void add(KvCache cache, int head, int count, int from, int to) {
        if (PlainAttention.cold(cache.format(), count, to - from, headDim)) {
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
            rescale(r);
        }
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
            rescale(r);
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
                AttentionKernels.scores4(q, r * headDim, headDim, keys, scores, r * TILE);
                for (int i = r; i < Math.min(r + 4, count); i++) {
                    hide(i * TILE, Math.max(begin, first[i] - tile), Math.min(end, last[i] + 1 - tile));
                    rescale(i);
                }
            }
        }
        for (int r = 0; r < count; r += 4) {
            if (from[r / 4] < to[r / 4]) {
                values4(values, r, from[r / 4], to[r / 4]);
            }
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

    /** Turns a row's scores into exponentials and scales what it has to their highest. */
    private void rescale(int row) {
        float before = highest[row];
        float now = Math.max(before, AttentionKernels.highest(scores, row * TILE));
        float sum = VectorMath.exponentials(scores, row * TILE, now);
        if (now > before) {
            float factor = (float) Math.exp(before - now);
            highest[row] = now;
            sums[row] = sums[row] * factor + sum;
            if (factor < 1) {
                AttentionKernels.scale(out, row * padded, padded, factor);
            }
        } else {
            sums[row] += sum;
        }
    }

    /** Writes the finished rows: headDim floats each, to {@code y} from {@code at}. */
    void write(int row, float[] y, int at) {
        float scale = 1 / sums[row];
        for (int d = 0; d < headDim; d++) {
            y[at + d] = out[row * padded + d] * scale;
        }
    }

    /** Copies the state of the first {@code count} rows to {@code target}, where {@link #merge} finds it. */
    void save(int count, float[] target, int at) {
        System.arraycopy(highest, 0, target, at, count);
        System.arraycopy(sums, 0, target, at + count, count);
        System.arraycopy(out, 0, target, at + 2 * count, count * padded);
    }

    /** Floats that {@link #save} takes. */
    static int savedSize(int count, int padded) {
        return count * (2 + padded);
    }

    /** Adds what was saved of other positions of the same rows. */
    void merge(int count, float[] saved, int at) {
        for (int r = 0; r < count; r++) {
            float theirs = saved[at + r];
            float now = Math.max(highest[r], theirs);
            float mine = (float) Math.exp(highest[r] - now);
            float factor = (float) Math.exp(theirs - now);
            highest[r] = now;
            sums[r] = sums[r] * mine + saved[at + count + r] * factor;
            for (int d = 0; d < padded; d++) {
                out[r * padded + d] =
                        out[r * padded + d] * mine + saved[at + 2 * count + r * padded + d] * factor;
            }
        }
    }
}
