package dev.millrace.cpu.attention;

import static jdk.incubator.vector.VectorOperators.GT;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LT;
import static jdk.incubator.vector.VectorOperators.MAX;

import dev.millrace.cpu.Lanes;
import dev.millrace.cpu.kv.KvCache;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The softmax of attention to the base 2, for rows of a tile's scores: queries are multiplied by log2 e beforehand, which spares
 * e^x the multiplication and the correction of its argument. A row's weights are relative to a whole number, its reference, so that
 * changing that changes exponents only. Every method is one flat loop over registers (see {@code VectorMath}).
 */
final class SoftmaxKernels {
    /** What scores are multiplied by for powers of 2 to be those of e. */
    static final float LOG2E = 1.44269504f;

    /**
     * How far scores may lie above the reference, so that it seldom changes. A weight of 2^8 times the factor of widened
     * halves, 2^112, is a float still.
     */
    static final float SLACK = 8;

    private static final VectorSpecies<Float> F = Lanes.F;
    private static final int L = Lanes.COUNT;
    private static final int TILE = KvCache.TILE;

    /** Floats of a row's sums: each half of a tile has its own, so that no addition waits for the one before. */
    static final int SUMS = 2 * L;

    /** Adding 1.5 * 2^23 rounds a small float to a whole number and leaves it in the low bits of the mantissa. */
    private static final float ROUND = 12582912f;

    /** Below that powers of 2 are 0, not subnormal. */
    private static final float MIN = -125.5f;

    /** 2^f = 1 + f (C1 + f (C2 + ...)) for f in [-0.5, 0.5]; relative error 3e-9, fitted by linear programming. */
    private static final float C6 = 1.532533e-4f;

    private static final float C5 = 1.3390803e-3f;
    private static final float C4 = 9.618509e-3f;
    private static final float C3 = 5.55036e-2f;
    private static final float C2 = 2.4022648e-1f;
    private static final float C1 = 6.931472e-1f;

    private SoftmaxKernels() {}

    /** The first row of [row, end) with a score more than {@link #SLACK} above its reference; {@code end} without one. */
    static int above(float[] s, int row, int end, float[] reference) {
        for (int r = row; r < end; r++) {
            int at = r * TILE;
            FloatVector a = FloatVector.fromArray(F, s, at).max(FloatVector.fromArray(F, s, at + L));
            FloatVector b = FloatVector.fromArray(F, s, at + 2 * L).max(FloatVector.fromArray(F, s, at + 3 * L));
            if (a.max(b).compare(GT, reference[r] + SLACK).anyTrue()) {
                return r;
            }
        }
        return end;
    }

    /** The highest of the tile's scores of one row. */
    static float highest(float[] s, int at) {
        FloatVector a = FloatVector.fromArray(F, s, at).max(FloatVector.fromArray(F, s, at + L));
        FloatVector b = FloatVector.fromArray(F, s, at + 2 * L).max(FloatVector.fromArray(F, s, at + 3 * L));
        return a.max(b).reduceLanes(MAX);
    }

    /**
     * s = 2^(s - reference) for rows [row, end), at most 1 ULP off for differences in [-125.5, 127], 0 below; adds them
     * to the sums.
     *
     * @param s [rows, TILE]
     * @param sums [rows, {@link #SUMS}]
     */
    static void weights(float[] s, int row, int end, float[] reference, float[] sums) {
        for (int h = 2 * row; h < 2 * end; h++) {
            int at = 2 * L * h;
            FloatVector below = FloatVector.broadcast(F, reference[h >> 1]);
            FloatVector round = FloatVector.broadcast(F, ROUND);
            FloatVector x0 = FloatVector.fromArray(F, s, at).sub(below);
            FloatVector x1 = FloatVector.fromArray(F, s, at + L).sub(below);
            FloatVector t0 = x0.add(round);
            FloatVector t1 = x1.add(round);
            FloatVector f0 = x0.sub(t0.sub(round));
            FloatVector f1 = x1.sub(t1.sub(round));
            FloatVector c = FloatVector.broadcast(F, C6);
            FloatVector d = FloatVector.broadcast(F, C5);
            FloatVector p0 = f0.fma(c, d);
            FloatVector p1 = f1.fma(c, d);
            c = FloatVector.broadcast(F, C4);
            p0 = p0.fma(f0, c);
            p1 = p1.fma(f1, c);
            c = FloatVector.broadcast(F, C3);
            p0 = p0.fma(f0, c);
            p1 = p1.fma(f1, c);
            c = FloatVector.broadcast(F, C2);
            p0 = p0.fma(f0, c);
            p1 = p1.fma(f1, c);
            c = FloatVector.broadcast(F, C1);
            p0 = p0.fma(f0, c);
            p1 = p1.fma(f1, c);
            c = FloatVector.broadcast(F, 1f);
            p0 = p0.fma(f0, c);
            p1 = p1.fma(f1, c);
            p0 = p0.reinterpretAsInts().add(t0.reinterpretAsInts().lanewise(LSHL, 23)).reinterpretAsFloats();
            p1 = p1.reinterpretAsInts().add(t1.reinterpretAsInts().lanewise(LSHL, 23)).reinterpretAsFloats();
            c = FloatVector.broadcast(F, MIN);
            p0 = p0.blend(0f, x0.compare(LT, c));
            p1 = p1.blend(0f, x1.compare(LT, c));
            p0.intoArray(s, at);
            p1.intoArray(s, at + L);
            FloatVector.fromArray(F, sums, L * h).add(p0.add(p1)).intoArray(sums, L * h);
        }
    }

    /** The sum of a row's sums; a plain loop, as a first token comes here before anything is compiled. */
    static float total(float[] sums, int row) {
        float a = 0;
        float b = 0;
        float c = 0;
        float d = 0;
        for (int i = row * SUMS; i < (row + 1) * SUMS; i += 4) {
            a += sums[i];
            b += sums[i + 1];
            c += sums[i + 2];
            d += sums[i + 3];
        }
        return (a + b) + (c + d);
    }

    /** 2^n for a whole number n of at most 0; 0 where that would be subnormal. */
    static float power(float n) {
        return n < -126 ? 0 : Float.intBitsToFloat((int) n + 127 << 23);
    }
}
