package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.F;
import static dev.millrace.cpu.matmul.Panel.F_BYTES;
import static dev.millrace.cpu.matmul.Panel.LANES;
import static dev.millrace.cpu.matmul.Panel.LE;
import static dev.millrace.cpu.matmul.Panel.ROWS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.S2I;

import dev.millrace.cpu.Lanes;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Q4_0 weights, (n - 8) d with a half-float d for 32 columns of a row, and the same part of Q4_1 weights, times activations
 * in 8 bits. A panel is, for
 * every 32 columns, the rows' scales and then four times an int of eight nibbles for each row. {@link NibbleFactors} says how the product works.
 */
final class Q4Panels implements PanelKernels {
    static final Q4Panels Q4_0 = new Q4Panels(18);
    static final Q4Panels Q4_1 = new Q4Panels(20);

    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final VectorSpecies<Short> H = Lanes.HALF_S;
    private static final int HALF_BITS = Halves.BITS;
    private static final int SCALES = 2 * ROWS;
    private static final int INTS = 4 * ROWS;
    private static final int BLOCK = SCALES + 4 * INTS;

    /** Bytes of the checkpoint's block: the scale, for Q4_1 the least value, and 16 bytes of nibbles. */
    private final int sourceBlock;

    private Q4Panels(int sourceBlock) {
        this.sourceBlock = sourceBlock;
    }

    @Override
    public long panelBytes(int inputs) {
        return Halves.HEADER + (long) BLOCK * (inputs / 32);
    }

    @Override
    public void pack(MemorySegment source, int inputs, long target) {
        int blocks = inputs / 32;
        int most = Packing.largestHalf(source, (long) ROWS * blocks * sourceBlock, sourceBlock);
        boolean scaled = Halves.header(target, most);
        for (int g = 0; g < blocks; g++) {
            long out = target + Halves.HEADER + (long) g * BLOCK;
            for (int r = 0; r < ROWS; r++) {
                long in = ((long) r * blocks + g) * sourceBlock;
                short scale = source.get(JAVA_SHORT_UNALIGNED, in);
                ALL.set(JAVA_SHORT_UNALIGNED, out + 2 * r, scaled ? Halves.scaled(scale) : scale);
                for (int j = 0; j < 4; j++) {
                    int nibbles = lanes(source.get(JAVA_INT_UNALIGNED, in + sourceBlock - 16 + 4 * j));
                    ALL.set(JAVA_INT_UNALIGNED, out + SCALES + j * INTS + 4 * r, nibbles);
                }
            }
        }
    }

    /**
     * What {@link #pack} leaves out of Q4_1's n d + m = (n - 8) d + (m + 8 d): the last term, which multiplies the sum of
     * the block's activations, as a panel of {@link F32Panels} with a column for every 32.
     */
    static void packOffsets(MemorySegment source, int inputs, long target) {
        int blocks = inputs / 32;
        for (int g = 0; g < blocks; g++) {
            for (int r = 0; r < ROWS; r++) {
                long in = ((long) r * blocks + g) * Q4_1.sourceBlock;
                float scale = Float.float16ToFloat(source.get(JAVA_SHORT_UNALIGNED, in));
                float least = Float.float16ToFloat(source.get(JAVA_SHORT_UNALIGNED, in + 2));
                ALL.set(JAVA_FLOAT_UNALIGNED, target + 4L * (g * ROWS + r), Math.fma(8, scale, least));
            }
        }
    }

    /** From ggml's order, where nibble 2u is column u of four and 2u + 1 is column 16 + u, to that of {@link NibbleFactors}. */
    private static int lanes(int nibbles) {
        return Integer.compress(nibbles, 0x0F0F0F0F) | Integer.compress(nibbles, 0xF0F0F0F0) << 16;
    }

    @Override
    public Form form() {
        return Form.NIBBLES;
    }

    /** Of one token: {@link #gemm} takes several. */
    @Override
    public void gemv(long panel, int inputs, Activations x, int token, float[] y, int yAt) {
        dot(panel, inputs / 32, x.nibbles, y, yAt);
    }

    /**
     * One token. The inner loop runs over long addresses so that it stays a loop: unrolled, its 32 products and their
     * factors do not fit the registers.
     */
    private static void dot(long panel, int groups, NibbleFactors x, float[] y, int yAt) {
        int[] factors = x.factors;
        int[] corrections = x.corrections;
        float[] scales = x.scales;
        FloatVector a = FloatVector.zero(F);
        FloatVector b = FloatVector.zero(F);
        int g = 0;
        int f = 0;
        long start = panel + Halves.HEADER;
        for (long o = start, end = start + (long) BLOCK * groups; o < end; o += BLOCK, g++) {
            ShortVector s = IntVector.broadcast(I, corrections[g]).reinterpretAsShorts();
            ShortVector t = s;
            for (long q = o + SCALES, last = o + BLOCK; q < last; q += INTS, f += 4) {
                ShortVector f0 = IntVector.broadcast(I, factors[f]).reinterpretAsShorts();
                ShortVector f1 = IntVector.broadcast(I, factors[f + 1]).reinterpretAsShorts();
                ShortVector f2 = IntVector.broadcast(I, factors[f + 2]).reinterpretAsShorts();
                ShortVector f3 = IntVector.broadcast(I, factors[f + 3]).reinterpretAsShorts();
                IntVector v = IntVector.fromMemorySegment(I, ALL, q, LE);
                IntVector w = IntVector.fromMemorySegment(I, ALL, q + F_BYTES, LE);
                s = s.add(v.reinterpretAsShorts().mul(f0));
                s = s.add(v.lanewise(LSHR, 4).reinterpretAsShorts().mul(f1));
                s = s.add(v.lanewise(LSHR, 8).reinterpretAsShorts().mul(f2));
                s = s.add(v.lanewise(LSHR, 12).reinterpretAsShorts().mul(f3));
                t = t.add(w.reinterpretAsShorts().mul(f0));
                t = t.add(w.lanewise(LSHR, 4).reinterpretAsShorts().mul(f1));
                t = t.add(w.lanewise(LSHR, 8).reinterpretAsShorts().mul(f2));
                t = t.add(w.lanewise(LSHR, 12).reinterpretAsShorts().mul(f3));
            }
            FloatVector d = FloatVector.broadcast(F, scales[g]);
            IntVector i = s.reinterpretAsInts();
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            a = ((FloatVector) i.convert(I2F, 0)).fma(((IntVector) ShortVector.fromMemorySegment(H, ALL, o, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(HALF_BITS).reinterpretAsFloats().mul(d), a);
            i = t.reinterpretAsInts();
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            b = ((FloatVector) i.convert(I2F, 0)).fma(((IntVector) ShortVector.fromMemorySegment(H, ALL, o + 2 * LANES, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(HALF_BITS).reinterpretAsFloats().mul(d), b);
        }
        a.mul(Halves.factor(panel) / NibbleFactors.SCALE).intoArray(y, yAt);
        b.mul(Halves.factor(panel) / NibbleFactors.SCALE).intoArray(y, yAt + LANES);
    }

    /** Sums of all tokens: [token][row of the panel]. */
    static void gemm(long panel, int groups, NibbleFactors x, int tokens, float[] sums) {
        for (int b = 0; b * NibbleFactors.TOKENS < tokens; b++) {
            multiply(panel, groups, x, b * groups, sums, b * NibbleFactors.TOKENS * ROWS);
        }
    }

    /** Four tokens: each weight is shifted once and multiplied four times. */
    private static void multiply(long panel, int groups, NibbleFactors x, int group, float[] y, int yAt) {
        int[] factors = x.factors;
        int[] corrections = x.corrections;
        float[] scales = x.scales;
        for (int r = 0; r < NibbleFactors.TOKENS * ROWS; r += LANES) {
            FloatVector.zero(F).intoArray(y, yAt + r);
        }
        int g = group;
        FloatVector factor = FloatVector.broadcast(F, Halves.factor(panel) / NibbleFactors.SCALE);
        long start = panel + Halves.HEADER;
        for (long o = start, end = start + (long) BLOCK * groups; o < end; o += BLOCK, g++) {
            ShortVector s0 = IntVector.broadcast(I, corrections[4 * g + 0]).reinterpretAsShorts(), t0 = s0;
            ShortVector s1 = IntVector.broadcast(I, corrections[4 * g + 1]).reinterpretAsShorts(), t1 = s1;
            ShortVector s2 = IntVector.broadcast(I, corrections[4 * g + 2]).reinterpretAsShorts(), t2 = s2;
            ShortVector s3 = IntVector.broadcast(I, corrections[4 * g + 3]).reinterpretAsShorts(), t3 = s3;
            int f = 64 * g;
            for (long q = o + SCALES, last = o + BLOCK; q < last; q += INTS, f += 4) {
                IntVector v = IntVector.fromMemorySegment(I, ALL, q, LE);
                IntVector w = IntVector.fromMemorySegment(I, ALL, q + F_BYTES, LE);
                ShortVector v0 = v.reinterpretAsShorts(), w0 = w.reinterpretAsShorts();
                ShortVector v1 = v.lanewise(LSHR, 4).reinterpretAsShorts(), w1 = w.lanewise(LSHR, 4).reinterpretAsShorts();
                ShortVector v2 = v.lanewise(LSHR, 8).reinterpretAsShorts(), w2 = w.lanewise(LSHR, 8).reinterpretAsShorts();
                ShortVector v3 = v.lanewise(LSHR, 12).reinterpretAsShorts(), w3 = w.lanewise(LSHR, 12).reinterpretAsShorts();
                ShortVector c;
                c = IntVector.broadcast(I, factors[f + 0]).reinterpretAsShorts();
                s0 = s0.add(v0.mul(c));
                t0 = t0.add(w0.mul(c));
                c = IntVector.broadcast(I, factors[f + 16]).reinterpretAsShorts();
                s1 = s1.add(v0.mul(c));
                t1 = t1.add(w0.mul(c));
                c = IntVector.broadcast(I, factors[f + 32]).reinterpretAsShorts();
                s2 = s2.add(v0.mul(c));
                t2 = t2.add(w0.mul(c));
                c = IntVector.broadcast(I, factors[f + 48]).reinterpretAsShorts();
                s3 = s3.add(v0.mul(c));
                t3 = t3.add(w0.mul(c));
                c = IntVector.broadcast(I, factors[f + 1]).reinterpretAsShorts();
                s0 = s0.add(v1.mul(c));
                t0 = t0.add(w1.mul(c));
                c = IntVector.broadcast(I, factors[f + 17]).reinterpretAsShorts();
                s1 = s1.add(v1.mul(c));
                t1 = t1.add(w1.mul(c));
                c = IntVector.broadcast(I, factors[f + 33]).reinterpretAsShorts();
                s2 = s2.add(v1.mul(c));
                t2 = t2.add(w1.mul(c));
                c = IntVector.broadcast(I, factors[f + 49]).reinterpretAsShorts();
                s3 = s3.add(v1.mul(c));
                t3 = t3.add(w1.mul(c));
                c = IntVector.broadcast(I, factors[f + 2]).reinterpretAsShorts();
                s0 = s0.add(v2.mul(c));
                t0 = t0.add(w2.mul(c));
                c = IntVector.broadcast(I, factors[f + 18]).reinterpretAsShorts();
                s1 = s1.add(v2.mul(c));
                t1 = t1.add(w2.mul(c));
                c = IntVector.broadcast(I, factors[f + 34]).reinterpretAsShorts();
                s2 = s2.add(v2.mul(c));
                t2 = t2.add(w2.mul(c));
                c = IntVector.broadcast(I, factors[f + 50]).reinterpretAsShorts();
                s3 = s3.add(v2.mul(c));
                t3 = t3.add(w2.mul(c));
                c = IntVector.broadcast(I, factors[f + 3]).reinterpretAsShorts();
                s0 = s0.add(v3.mul(c));
                t0 = t0.add(w3.mul(c));
                c = IntVector.broadcast(I, factors[f + 19]).reinterpretAsShorts();
                s1 = s1.add(v3.mul(c));
                t1 = t1.add(w3.mul(c));
                c = IntVector.broadcast(I, factors[f + 35]).reinterpretAsShorts();
                s2 = s2.add(v3.mul(c));
                t2 = t2.add(w3.mul(c));
                c = IntVector.broadcast(I, factors[f + 51]).reinterpretAsShorts();
                s3 = s3.add(v3.mul(c));
                t3 = t3.add(w3.mul(c));
            }
            FloatVector d0 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(HALF_BITS).reinterpretAsFloats().mul(factor);
            FloatVector d1 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + 2 * LANES, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(HALF_BITS).reinterpretAsFloats().mul(factor);
            FloatVector d;
            IntVector i;
            d = FloatVector.broadcast(F, scales[4 * g + 0]);
            i = s0.reinterpretAsInts();
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            ((FloatVector) i.convert(I2F, 0)).fma(d0.mul(d), FloatVector.fromArray(F, y, yAt)).intoArray(y, yAt);
            i = t0.reinterpretAsInts();
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            ((FloatVector) i.convert(I2F, 0)).fma(d1.mul(d), FloatVector.fromArray(F, y, yAt + LANES)).intoArray(y, yAt + LANES);
            d = FloatVector.broadcast(F, scales[4 * g + 1]);
            i = s1.reinterpretAsInts();
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            ((FloatVector) i.convert(I2F, 0)).fma(d0.mul(d), FloatVector.fromArray(F, y, yAt + ROWS)).intoArray(y, yAt + ROWS);
            i = t1.reinterpretAsInts();
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            ((FloatVector) i.convert(I2F, 0)).fma(d1.mul(d), FloatVector.fromArray(F, y, yAt + ROWS + LANES)).intoArray(y, yAt + ROWS + LANES);
            d = FloatVector.broadcast(F, scales[4 * g + 2]);
            i = s2.reinterpretAsInts();
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            ((FloatVector) i.convert(I2F, 0)).fma(d0.mul(d), FloatVector.fromArray(F, y, yAt + 2 * ROWS)).intoArray(y, yAt + 2 * ROWS);
            i = t2.reinterpretAsInts();
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            ((FloatVector) i.convert(I2F, 0)).fma(d1.mul(d), FloatVector.fromArray(F, y, yAt + 2 * ROWS + LANES)).intoArray(y, yAt + 2 * ROWS + LANES);
            d = FloatVector.broadcast(F, scales[4 * g + 3]);
            i = s3.reinterpretAsInts();
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            ((FloatVector) i.convert(I2F, 0)).fma(d0.mul(d), FloatVector.fromArray(F, y, yAt + 3 * ROWS)).intoArray(y, yAt + 3 * ROWS);
            i = t3.reinterpretAsInts();
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            ((FloatVector) i.convert(I2F, 0)).fma(d1.mul(d), FloatVector.fromArray(F, y, yAt + 3 * ROWS + LANES)).intoArray(y, yAt + 3 * ROWS + LANES);
        }
    }
}
