package dev.millrace.cpu.matmul;

import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Several tokens as {@link WinogradKernel} reads them: [token block][32 columns] pieces of {@link WinogradKernel#INPUT}
 * ints. Past the last token the last one is repeated.
 */
final class ScaledBlocks {
    static final int TOKENS = WinogradKernel.TOKENS;

    private static final VectorSpecies<Float> F = Lanes.F;

    private final float[][] staging;
    /** The pieces, whose layout {@link WinogradKernel#INPUT} tells. */
    final int[] pieces;

    ScaledBlocks(int tokens, int inputs, int workers) {
        int all = Math.multiplyExact(Math.ceilDiv(tokens, TOKENS), Math.ceilDiv(inputs, 32));
        pieces = new int[Math.multiplyExact(all, WinogradKernel.INPUT)];
        staging = new float[workers][TOKENS * 32];
    }

    long bytes() {
        return 4L * pieces.length;
    }

    /** Index of the pieces of a token block from 32 columns {@code group} on. */
    int at(int block, int groups, int group) {
        return (block * groups + group) * WinogradKernel.INPUT;
    }

    /** Scales a share of the pieces. */
    void fill(Rows rows, int tokens, int inputs, int worker, int workers) {
        int groups = inputs / 32;
        int all = Math.ceilDiv(tokens, TOKENS) * groups;
        int end = Math.toIntExact((long) all * (worker + 1) / workers);
        float[] scaled = staging[worker];
        for (int i = Math.toIntExact((long) all * worker / workers); i < end; i++) {
            int piece = i * WinogradKernel.INPUT;
            for (int t = 0; t < TOKENS; t++) {
                int at = rows.at(Math.min(i / groups * TOKENS + t, tokens - 1)) + i % groups * 32;
                scale(rows.data(), at, scaled, 32 * t, piece + t);
            }
            for (int k = 0; k < 32; k += Turn.COLUMNS) {
                Turn.turn(scaled, k, 32, pieces, piece + TOKENS * (2 + k));
            }
        }
    }

    /** 32 columns of a token to {@code out}, their scale and correction to {@code header} and 8 ints further on. */
    private void scale(float[] x, int at, float[] out, int outAt, int header) {
        FloatVector most = FloatVector.zero(F);
        for (int i = 0; i < 32; i += F.length()) {
            most = most.max(FloatVector.fromArray(F, x, at + i).abs());
        }
        float scale = most.reduceLanes(VectorOperators.MAX) * (1f / WinogradKernel.LIMIT);
        // below this the reciprocal overflows; such activations count as zero
        float inverse = scale < 0x1p-126f ? 0 : 1 / scale;
        FloatVector products = FloatVector.zero(F);
        for (int i = 0; i < 16; i += F.length()) {
            FloatVector low = FloatVector.fromArray(F, x, at + i).mul(inverse);
            FloatVector high = FloatVector.fromArray(F, x, at + 16 + i).mul(inverse);
            low.intoArray(out, outAt + i);
            high.intoArray(out, outAt + 16 + i);
            products = low.fma(high, products);
        }
        pieces[header] = Float.floatToRawIntBits(scale);
        pieces[header + TOKENS] = Float.floatToRawIntBits(-products.reduceLanes(VectorOperators.ADD));
    }
}
