package dev.millrace.cpu.attention;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.cpu.Lanes;
import dev.millrace.cpu.kv.KvCache;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * One worker's running softmax (Milakov and Gimelshein, 2018) over tiles of positions for up to {@link #rows} query rows
 * that share a key/value head: for every row its highest score so far, the sum of its exponentials and the weighted sum
 * of the values, all scaled to that highest score. No more scores exist at once than rows times one tile.
 */
final class TileScratch {
    /** Below any score, and finite: the difference of two of them is a number. */
    private static final float NONE = -1e30f;

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
    private final float[] scores;
    private final float[] highest;
    private final float[] sums;
    private final float[] out;
    /** One tile of keys and values as floats, when the cache holds float16. */
    private final MemorySegment wide;

    private final long wideValues;

    TileScratch(int rows, int headDim, Arena arena) {
        this.rows = (rows + 3) / 4 * 4;
        this.headDim = headDim;
        this.padded = Lanes.padded(headDim);
        this.q = new float[this.rows * headDim];
        this.first = new int[this.rows];
        this.last = new int[this.rows];
        this.scores = new float[this.rows * TILE];
        this.highest = new float[this.rows];
        this.sums = new float[this.rows];
        this.out = new float[this.rows * padded];
        this.wideValues = (long) TILE * headDim * Float.BYTES;
        this.wide = arena.allocate(wideValues + (long) TILE * padded * Float.BYTES, 64);
    }

    /** Bytes it takes. */
    long bytes() {
        return wide.byteSize() + 4L * (q.length + 2 * rows + scores.length + 2 * rows + out.length);
    }

    /** Forgets what was added to the first {@code count} rows. */
    void clear(int count) {
        for (int r = 0; r < count; r++) {
            highest[r] = NONE;
            sums[r] = 0;
        }
        Arrays.fill(out, 0, count * padded, 0f);
    }

    /** Adds the positions [from, to), of those that each of the first {@code count} rows sees. */
    void add(KvCache cache, int head, int count, int from, int to) {
        for (int tile = from / TILE * TILE; tile < to; tile += TILE) {
            MemorySegment memory = cache.memory();
            long keys = cache.keys(head, tile);
            long values = cache.values(head, tile);
            if (cache.format() == KvFormat.F16) {
                AttentionKernels.widen(memory, keys, wide, 0, TILE * headDim);
                AttentionKernels.widen(memory, values, wide, wideValues, TILE * padded);
                memory = wide;
                keys = 0;
                values = wideValues;
            }
            int begin = Math.max(from - tile, 0);
            int end = Math.min(to - tile, TILE);
            int r = 0;
            for (; r <= count - 4; r += 4) {
                add(memory, keys, values, r, 4, tile, begin, end);
            }
            for (; r < count; r++) {
                add(memory, keys, values, r, 1, tile, begin, end);
            }
        }
    }

    /** Adds positions [tile + begin, tile + end) to {@code group} rows from {@code r}, four or one. */
    private void add(MemorySegment memory, long keys, long values, int r, int group, int tile, int begin, int end) {
        int from = TILE;
        int to = 0;
        for (int i = r; i < r + group; i++) {
            from = Math.min(from, Math.max(begin, first[i] - tile));
            to = Math.max(to, Math.min(end, last[i] + 1 - tile));
        }
        if (from >= to) {
            return;
        }
        if (group == 4) {
            AttentionKernels.scores4(q, r * headDim, headDim, memory, keys, scores, r * TILE);
        } else {
            AttentionKernels.scores1(q, r * headDim, headDim, memory, keys, scores, r * TILE);
        }
        for (int i = r; i < r + group; i++) {
            hide(i * TILE, Math.max(begin, first[i] - tile), Math.min(end, last[i] + 1 - tile));
            rescale(i);
        }
        for (int d = 0; d < padded; ) {
            int at = r * padded + d;
            long v = values + (long) d * Float.BYTES;
            boolean four = d + 4 * L <= padded;
            if (group == 4 && four) {
                AttentionKernels.values4x4(scores, r * TILE, from, to, memory, v, padded, out, at);
            } else if (group == 4) {
                AttentionKernels.values4x1(scores, r * TILE, from, to, memory, v, padded, out, at);
            } else if (four) {
                AttentionKernels.values1x4(scores, r * TILE, from, to, memory, v, padded, out, at);
            } else {
                AttentionKernels.values1x1(scores, r * TILE, from, to, memory, v, padded, out, at);
            }
            d += four ? 4 * L : L;
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
        float sum = AttentionKernels.exponentials(scores, row * TILE, now);
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
