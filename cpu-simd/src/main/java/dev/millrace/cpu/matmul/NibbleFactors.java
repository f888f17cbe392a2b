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

    /** Up to so many tokens are multiplied with panels as they are; unpacking them takes as long as multiplying with two tokens. */
    static final int FEW = 8;

    /** 2^64 is taken out of the panels' small scales and put into these. */
    static final float SCALE = 0x1p64f;

    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    /** Adding this to a small float rounds it to an integer, which then stands in the lower bits. */
    private static final float ROUND = 0x1.8p23f;

    private static final int ROUND_BITS = 0x4B400000;

    private static final VectorMask<Integer> FIRST_OF_FOUR = VectorMask.fromLong(I, 0x1111111111111111L);
    private static final VectorShuffle<Integer> OTHER = VectorShuffle.fromOp(I, i -> i ^ 1);
    private static final VectorShuffle<Integer> BEFORE = VectorShuffle.fromOp(I, i -> Math.max(i - 1, 0));
    private static final VectorShuffle<Integer> LAST_OF_FOUR = VectorShuffle.fromOp(I, i -> i | 3);

    /** Pairs of 16-bit factors, as they are read: [run of a panel][token block][32 columns][token][16]; of one token, [32 columns][16]. */
    final int[] factors;
    /**
     * -8 sum a modulo 2^16, in the lower half, as the kernels add up both; the same but the last dimension. Of more than {@link #FEW} tokens
     * less b[0] b[1] + b[2] b[3] + .. of both halves, for {@link UnpackedNibbles}.
     */
    final int[] corrections;
    /** s 2^64, of the same shape. */
    final float[] scales;
    /** Sums of every 32 columns, in the layout of {@link Activations#blocks}; of one token, [32 columns]. For Q4_1 only. */
    final float[] sums;

    NibbleFactors(int maxTokens, int maxInputs) {
        int groups = Math.ceilDiv(maxInputs, 32);
        factors = new int[Math.multiplyExact(maxTokens, groups * 16)];
        corrections = new int[maxTokens * groups];
        scales = new float[maxTokens * groups];
        sums = new float[maxTokens * groups];
    }

    long bytes() {
        return 4L * (factors.length + corrections.length + scales.length + sums.length);
    }

    /** Quantizes a share of the tokens, or, of a single token, a share of its columns, and fills {@link #sums} where they are asked for. */
    void fill(Rows rows, int tokens, int inputs, boolean withSums, int worker, int workers) {
        int groups = inputs / 32;
        if (tokens == 1) {
            for (int g = groups * worker / workers; g < groups * (worker + 1) / workers; g++) {
                quantize(rows.data(), rows.offset() + 32 * g, g, false);
                if (withSums) {
                    sums[g] = sum(rows.data(), rows.offset() + 32 * g);
                }
            }
            return;
        }
        int blocks = Math.ceilDiv(tokens, Activations.BLOCK);
        int first = blocks * worker / workers * Activations.BLOCK;
        int end = blocks * (worker + 1) / workers * Activations.BLOCK;
        for (int block = first; block < end; block += Activations.BLOCK) {
            // in the order in which it is written
            for (int run = 0; run < groups; run += Q4Panels.RUN) {
                for (int t = block; t < block + Activations.BLOCK; t++) {
                    fillRun(rows, t, tokens, run, groups, withSums);
                }
            }
        }
    }

    /** The same for a run of one of several tokens; past the end the last token is repeated: its sums are not used. */
    private void fillRun(Rows rows, int t, int tokens, int run, int groups, boolean withSums) {
        int row = rows.at(Math.min(t, tokens - 1));
        int index = index(t, tokens, run, groups);
        int end = Math.min(groups, run + Q4Panels.RUN);
        for (int g = run; g < end; g++, index += TOKENS) {
            quantize(rows.data(), row + 32 * g, index, tokens > FEW);
        }
        int total = (t / Activations.BLOCK * groups + run) * Activations.BLOCK + t % Activations.BLOCK;
        for (int g = run; withSums && g < end; g++, total += Activations.BLOCK) {
            sums[total] = sum(rows.data(), row + 32 * g);
        }
    }

    /** Of several tokens, index of the 32 columns {@code g} of {@code groups} of one of them. */
    static int index(int token, int tokens, int g, int groups) {
        int first = g - g % Q4Panels.RUN;
        int n = Math.min(Q4Panels.RUN, groups - first);
        int all = Math.ceilDiv(tokens, Activations.BLOCK) * Activations.BLOCK;
        return first * all + token / TOKENS * TOKENS * n + (g - first) * TOKENS + token % TOKENS;
    }

    /** Quantizes 32 columns. */
    private void quantize(float[] x, int at, int index, boolean many) {
        // floats that are not negative are in the order of their bits
        IntVector magnitude = IntVector.broadcast(I, 0x7FFFFFFF);
        IntVector most = IntVector.zero(I);
        for (int i = 0; i < 32; i += I.length()) {
            most = most.max(FloatVector.fromArray(F, x, at + i).reinterpretAsInts().and(magnitude));
        }
        float scale = Float.intBitsToFloat(most.reduceLanes(VectorOperators.MAX)) * (1f / 127);
        // below this the reciprocal overflows; such activations count as zero
        FloatVector inverse = FloatVector.broadcast(F, scale < 0x1p-126f ? 0 : 1 / scale);
        FloatVector round = FloatVector.broadcast(F, ROUND);
        IntVector rounded = IntVector.broadcast(I, ROUND_BITS);
        IntVector twice = IntVector.zero(I);
        for (int i = 0; i < 16; i += I.length()) {
            IntVector low = FloatVector.fromArray(F, x, at + i).mul(inverse).add(round).reinterpretAsInts().sub(rounded);
            IntVector high = FloatVector.fromArray(F, x, at + 16 + i).mul(inverse).add(round).reinterpretAsInts().sub(rounded);
            twice = twice.add(low.add(high).lanewise(LSHL, 4));
            IntVector beforeLow = low.rearrange(BEFORE).blend(0, FIRST_OF_FOUR);
            IntVector beforeHigh = high.rearrange(BEFORE).blend(low.rearrange(LAST_OF_FOUR), FIRST_OF_FOUR);
            low = low.sub(beforeLow.lanewise(LSHL, 4));
            high = high.sub(beforeHigh.lanewise(LSHL, 4));
            low.and(0xFFFF).or(high.lanewise(LSHL, 16)).intoArray(factors, 16 * index + i);
            if (many) {
                // each product is there twice
                twice = twice.add(low.mul(low.rearrange(OTHER))).add(high.mul(high.rearrange(OTHER)));
            }
        }
        corrections[index] = -twice.reduceLanes(VectorOperators.ADD) >> 1 & 0xFFFF;
        scales[index] = scale * SCALE;
    }

    /** In an order of its own: that of reduceLanes, for floats, is another one once the JIT has compiled it. */
    private static float sum(float[] x, int at) {
        float a = 0, b = 0, c = 0, d = 0;
        for (int i = at; i < at + 32; i += 4) {
            a += x[i];
            b += x[i + 1];
            c += x[i + 2];
            d += x[i + 3];
        }
        return (a + b) + (c + d);
    }
}
