package dev.millrace.cpu.matmul;

import static jdk.incubator.vector.VectorOperators.LSHL;

import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * Activations in 8 bits, as {@link Q4Panels} multiplies them: every 32 columns of a token share a scale s = max|x|/127
 * and are a[k] = round(x[k]/s).
 *
 * <p>A lane of a Q4 panel holds eight weights of a row as nibbles n0..n7 of an int, and the kernel multiplies its two
 * 16-bit halves, shifted by 0, 4, 8 and 12 bits, without masking the nibbles above. With the factor of nibble t being
 * b[t] = a[t] - 16 a[t-1], every product's excess is taken away by the next one: the sum of all is sum n[t] a[t] modulo
 * 2^16. As |sum of 32 (n - 8) a| is at most 32 * 8 * 127 = 32512, that is exact.
 *
 * <p>Nibbles 0 to 3 of int j are columns 4j to 4j + 3, nibbles 4 to 7 are columns 16 + 4j to 16 + 4j + 3; factor 4j + n
 * multiplies the int shifted by 4n and holds b[n] in its lower and b[n + 4] in its upper half.
 */
final class NibbleFactors {
    /** Tokens of a block in a product of several tokens. */
    static final int TOKENS = 4;

    /** 2^64 is taken out of the panels' small scales and put into these. */
    static final float SCALE = 0x1p64f;

    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    /** Adding this to a small float rounds it to an integer, which then stands in the lower bits. */
    private static final float ROUND = 0x1.8p23f;

    private static final VectorMask<Integer> FIRST_OF_FOUR = VectorMask.fromLong(I, 0x1111111111111111L);
    private static final VectorShuffle<Integer> BEFORE = VectorShuffle.fromOp(I, i -> Math.max(i - 1, 0));
    private static final VectorShuffle<Integer> LAST_OF_FOUR = VectorShuffle.fromOp(I, i -> i | 3);

    /** Pairs of 16-bit factors, as they are read: [run of a panel][token block][32 columns][token][16]; of one token, [32 columns][16]. */
    final int[] factors;
    /** -4 sum a, modulo 2^16, in both halves, which the kernels add up; the same but the last dimension. */
    final int[] corrections;
    /** The same less b[0] b[1] + b[2] b[3] + .., in each half its own, of several tokens, for {@link UnpackedNibbles}. */
    final int[] paired;
    /** s 2^64, of the same shape. */
    final float[] scales;
    /** Sums of every 32 columns, in the layout of {@link Activations#blocks}; of one token, [32 columns]. */
    final float[] sums;

    NibbleFactors(int maxTokens, int maxInputs) {
        int groups = Math.ceilDiv(maxInputs, 32);
        factors = new int[Math.multiplyExact(maxTokens, groups * 16)];
        corrections = new int[maxTokens * groups];
        paired = new int[maxTokens * groups];
        scales = new float[maxTokens * groups];
        sums = new float[maxTokens * groups];
    }

    long bytes() {
        return 4L * (factors.length + corrections.length + paired.length + scales.length + sums.length);
    }

    /** Quantizes a share of the tokens, or, of a single token, a share of its columns. */
    void fill(Rows rows, int tokens, int inputs, int worker, int workers) {
        int groups = inputs / 32;
        if (tokens == 1) {
            for (int g = groups * worker / workers; g < groups * (worker + 1) / workers; g++) {
                sums[g] = quantize(rows.data(), rows.offset() + 32 * g, g);
            }
            return;
        }
        int blocks = Math.ceilDiv(tokens, Activations.BLOCK);
        int first = blocks * worker / workers * Activations.BLOCK;
        int end = blocks * (worker + 1) / workers * Activations.BLOCK;
        for (int t = first; t < end; t++) {
            // past the end the last token is repeated: its sums are not used
            int row = rows.at(Math.min(t, tokens - 1));
            int wide = t / Activations.BLOCK;
            for (int g = 0; g < groups; g++) {
                int index = index(t, tokens, g, groups);
                sums[(wide * groups + g) * Activations.BLOCK + t % Activations.BLOCK] =
                        quantize(rows.data(), row + 32 * g, index);
                pair(index);
            }
        }
    }

    /** Of several tokens, index of the 32 columns {@code g} of {@code groups} of one of them. */
    static int index(int token, int tokens, int g, int groups) {
        int first = g - g % Q4Panels.RUN;
        int n = Math.min(Q4Panels.RUN, groups - first);
        int all = Math.ceilDiv(tokens, Activations.BLOCK) * Activations.BLOCK;
        return first * all + token / TOKENS * TOKENS * n + (g - first) * TOKENS + token % TOKENS;
    }

    /** Quantizes 32 columns; returns their sum. */
    private float quantize(float[] x, int at, int index) {
        FloatVector most = FloatVector.zero(F);
        FloatVector total = FloatVector.zero(F);
        for (int i = 0; i < 32; i += F.length()) {
            most = most.max(FloatVector.fromArray(F, x, at + i).abs());
            total = total.add(FloatVector.fromArray(F, x, at + i));
        }
        float scale = most.reduceLanes(VectorOperators.MAX) * (1f / 127);
        // below this the reciprocal overflows; such activations count as zero
        float inverse = scale < 0x1p-126f ? 0 : 1 / scale;
        IntVector sum = IntVector.zero(I);
        for (int i = 0; i < 16; i += I.length()) {
            IntVector low = FloatVector.fromArray(F, x, at + i).mul(inverse).add(ROUND).reinterpretAsInts().sub(0x4B400000);
            IntVector high = FloatVector.fromArray(F, x, at + 16 + i).mul(inverse).add(ROUND).reinterpretAsInts().sub(0x4B400000);
            sum = sum.add(low).add(high);
            IntVector beforeLow = low.rearrange(BEFORE).blend(0, FIRST_OF_FOUR);
            IntVector beforeHigh = high.rearrange(BEFORE).blend(low.rearrange(LAST_OF_FOUR), FIRST_OF_FOUR);
            low = low.sub(beforeLow.lanewise(LSHL, 4)).and(0xFFFF);
            high = high.sub(beforeHigh.lanewise(LSHL, 4)).lanewise(LSHL, 16);
            low.or(high).intoArray(factors, 16 * index + i);
        }
        corrections[index] = (-4 * sum.reduceLanes(VectorOperators.ADD) & 0xFFFF) * 0x10001;
        scales[index] = scale * SCALE;
        return total.reduceLanes(VectorOperators.ADD);
    }

    /** Fills {@link #paired}. */
    private void pair(int index) {
        int low = corrections[index];
        int high = low;
        for (int i = 16 * index; i < 16 * (index + 1); i += 2) {
            low -= factors[i] * factors[i + 1];
            high -= (factors[i] >>> 16) * (factors[i + 1] >>> 16);
        }
        paired[index] = low & 0xFFFF | high << 16;
    }
}
