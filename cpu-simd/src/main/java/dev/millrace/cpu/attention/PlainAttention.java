package dev.millrace.cpu.attention;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.cpu.ColdStart;
import dev.millrace.cpu.Lanes;
import dev.millrace.cpu.kv.KvCache;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/** What {@link TileScratch#add} does, in plain loops, for kernels that are not compiled yet ({@link ColdStart}). */
final class PlainAttention {
    private static final int L = Lanes.COUNT;
    private static final int TILE = KvCache.TILE;
    private static final double LN2 = 0.6931471805599453;

    private static final int HEAD_DIM = 64;
    private static final int POSITIONS = 128;
    /** As decoding has them, alone and where heads share keys; more come with prompts only. */
    private static final int[] FEW_ROWS = {1, 4};

    private static final int[] MANY_ROWS = {32};

    /** Slower than compiled kernels do all of either, a tenth of what interpreted ones take. */
    private static final long NANOS = 500_000L * 512 / Lanes.BITS;

    private static final Starts F32 = new Starts(KvFormat.F32);
    private static final Starts F16 = new Starts(KvFormat.F16);

    /** The kernels for a cache's format, which are compiled apart: whoever decodes first need not wait for those of prompts. */
    private record Starts(ColdStart few, ColdStart many) {
        Starts(KvFormat format) {
            this(new ColdStart(NANOS, () -> warmUp(format, FEW_ROWS)), new ColdStart(NANOS, () -> warmUp(format, MANY_ROWS)));
        }
    }

    private PlainAttention() {}

    /** Whether the kernels that go over so many positions with so many rows are cold. */
    static boolean cold(KvFormat format, int rows, int positions, int headDim) {
        Starts starts = format == KvFormat.F32 ? F32 : F16;
        return (rows <= TileScratch.STREAMED_ROWS ? starts.few : starts.many).cold(2L * rows * positions * headDim);
    }

    static void add(TileScratch to, KvCache cache, int head, int count, int from, int end) {
        float[] keys = new float[TILE * to.headDim];
        float[] values = new float[TILE * to.padded];
        float[] scores = new float[TILE];
        for (int tile = from / TILE * TILE; tile < end; tile += TILE) {
            read(cache.format(), cache.keys(head, tile), keys);
            read(cache.format(), cache.values(head, tile), values);
            for (int r = 0; r < count; r++) {
                int first = Math.max(Math.max(from, to.first[r]) - tile, 0);
                int last = Math.min(Math.min(end, to.last[r] + 1) - tile, TILE);
                if (first < last) {
                    row(to, r, keys, values, first, last, scores);
                }
            }
        }
    }

    private static void row(TileScratch to, int row, float[] keys, float[] values, int first, int last, float[] scores) {
        float highest = Float.NEGATIVE_INFINITY;
        for (int p = first; p < last; p++) {
            scores[p] = dot(to.q, row * to.headDim, to.headDim, keys, p / L * L * to.headDim + p % L);
            highest = Math.max(highest, scores[p]);
        }
        if (highest > to.reference[row] + SoftmaxKernels.SLACK) {
            to.raise(row, highest);
        }
        for (int p = first; p < last; p++) {
            float weight = (float) Math.exp((scores[p] - to.reference[row]) * LN2);
            to.sums[row * SoftmaxKernels.SUMS] += weight;
            add(weight, values, p * to.padded, to.out, row * to.padded, to.headDim);
        }
    }

    /** Keys lie in blocks of {@link Lanes#COUNT} positions: dimensions of a key are so far apart. */
    private static float dot(float[] q, int qAt, int n, float[] keys, int at) {
        float sum = 0;
        for (int i = 0; i < n; i++) {
            sum = Math.fma(keys[at + i * L], q[qAt + i], sum);
        }
        return sum;
    }

    private static void add(float weight, float[] values, int at, float[] out, int outAt, int n) {
        for (int d = 0; d < n; d++) {
            out[outAt + d] = Math.fma(values[at + d], weight, out[outAt + d]);
        }
    }

    private static void read(KvFormat format, long address, float[] floats) {
        if (format == KvFormat.F32) {
            MemorySegment.copy(
                    AttentionKernels.ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, address, floats, 0, floats.length);
            return;
        }
        short[] halves = new short[floats.length];
        MemorySegment.copy(AttentionKernels.ALL, ValueLayout.JAVA_SHORT_UNALIGNED, address, halves, 0, halves.length);
        for (int i = 0; i < floats.length; i++) {
            floats[i] = Float.float16ToFloat(halves[i]);
        }
    }

    private static void warmUp(KvFormat format, int[] counts) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(KvCache.bytes(1, HEAD_DIM, POSITIONS, format), 64);
            float[] y = new float[HEAD_DIM];
            KvCache cache = KvCache.in(memory, 0, 1, HEAD_DIM, POSITIONS, format);
            for (int rows : counts) {
                TileScratch tile = new TileScratch(rows, HEAD_DIM, arena);
                Arrays.fill(tile.last, POSITIONS - 1);
                tile.clear(rows);
                tile.addVectors(cache, 0, rows, 0, POSITIONS);
                for (int r = 0; r < rows; r++) {
                    tile.write(r, y, 0);
                }
            }
        }
    }
}
