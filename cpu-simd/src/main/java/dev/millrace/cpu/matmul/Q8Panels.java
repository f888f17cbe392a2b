package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.F;
import static dev.millrace.cpu.matmul.Panel.F_BYTES;
import static dev.millrace.cpu.matmul.Panel.LANES;
import static dev.millrace.cpu.matmul.Panel.LE;
import static dev.millrace.cpu.matmul.Panel.ROWS;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static jdk.incubator.vector.VectorOperators.B2I;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.S2I;

import dev.millrace.cpu.Lanes;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * Q8_0 weights: 32 columns of a row share a half-float scale. A panel is, for every 32 columns, [column][row] bytes and
 * then the rows' scales, in the order in which they are read. Activations stay floats: no accuracy is lost beyond the weights'.
 */
final class Q8Panels implements UnpackedKernels {
    static final Q8Panels INSTANCE = new Q8Panels();

    private static final VectorSpecies<Byte> B = VectorShape.forBitSize(Math.max(64, Lanes.BITS / 4)).withLanes(byte.class);
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final VectorSpecies<Short> H = Lanes.HALF_S;
    private static final int HALF_BITS = Halves.BITS;
    /** Bytes before a block's scales. */
    private static final int SCALES = 32 * ROWS;

    private static final int BLOCK = SCALES + 2 * ROWS;
    private static final int SOURCE_BLOCK = 34;

    private Q8Panels() {}

    @Override
    public long panelBytes(int inputs) {
        return Halves.HEADER + (long) BLOCK * (inputs / 32);
    }

    @Override
    public void pack(MemorySegment source, int inputs, long target) {
        int blocks = inputs / 32;
        int most = Packing.largestHalf(source, (long) ROWS * blocks * SOURCE_BLOCK, SOURCE_BLOCK);
        boolean scaled = Halves.header(target, most);
        for (int g = 0; g < blocks; g++) {
            long out = target + Halves.HEADER + (long) g * BLOCK;
            for (int r = 0; r < ROWS; r++) {
                long in = ((long) r * blocks + g) * SOURCE_BLOCK;
                short scale = source.get(JAVA_SHORT_UNALIGNED, in);
                ALL.set(JAVA_SHORT_UNALIGNED, out + SCALES + 2 * r, scaled ? Halves.scaled(scale) : scale);
                Packing.bytes(source, in + 2, out + r);
            }
        }
    }

    @Override
    public Form form() {
        return Form.SCALED;
    }

    @Override
    public void gemv(long panel, int inputs, Activations x, int token, float[] y, int yAt) {
        dot(panel, inputs, x.rows.data(), x.rows.at(token), y, yAt);
    }

    /** Two columns a step: with four, C2 reaches its limit of nodes ({@code KernelShapeTest}), and kept vectors as objects in some starts. */
    private static void dot(long panel, int inputs, float[] x, int xAt, float[] y, int yAt) {
        FloatVector a = FloatVector.zero(F);
        FloatVector b = FloatVector.zero(F);
        int k = xAt;
        float factor = Halves.factor(panel);
        long start = panel + Halves.HEADER;
        for (long o = start, end = start + (long) BLOCK * (inputs / 32); o < end; o += BLOCK) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector b0 = FloatVector.zero(F);
            FloatVector b1 = FloatVector.zero(F);
            for (long q = o, last = o + SCALES; q < last; q += 2 * ROWS, k += 2) {
                FloatVector x0 = FloatVector.broadcast(F, x[k]);
                a0 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q, LE).convertShape(B2I, I, 0)).convertShape(I2F, F, 0)).fma(x0, a0);
                b0 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + LANES, LE).convertShape(B2I, I, 0)).convertShape(I2F, F, 0)).fma(x0, b0);
                FloatVector x1 = FloatVector.broadcast(F, x[k + 1]);
                a1 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + ROWS, LE).convertShape(B2I, I, 0)).convertShape(I2F, F, 0)).fma(x1, a1);
                b1 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + ROWS + LANES, LE).convertShape(B2I, I, 0)).convertShape(I2F, F, 0)).fma(x1, b1);
            }
            a = a0.add(a1).fma(((IntVector) ShortVector.fromMemorySegment(H, ALL, o + SCALES, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(HALF_BITS).reinterpretAsFloats(), a);
            b = b0.add(b1).fma(((IntVector) ShortVector.fromMemorySegment(H, ALL, o + SCALES + 2 * LANES, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(HALF_BITS).reinterpretAsFloats(), b);
        }
        a.mul(factor).intoArray(y, yAt);
        b.mul(factor).intoArray(y, yAt + LANES);
    }

    /** For {@link WinogradKernel}. */
    @Override
    public long unpack(long panel, int from, int to, long target) {
        float factor = Halves.factor(panel);
        long start = panel + Halves.HEADER;
        long out = target;
        for (long o = start + (long) BLOCK * (from / 32), end = start + (long) BLOCK * (to / 32); o < end; o += BLOCK) {
            ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + SCALES, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(HALF_BITS).reinterpretAsFloats().mul(factor).intoMemorySegment(ALL, out, LE);
            ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + SCALES + 2 * LANES, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(HALF_BITS).reinterpretAsFloats().mul(factor).intoMemorySegment(ALL, out + F_BYTES, LE);
            FloatVector products0 = FloatVector.zero(F);
            FloatVector products1 = FloatVector.zero(F);
            long v = out + 4L * F_BYTES;
            for (long q = o, half = q + 16 * ROWS; q < half; q += ROWS, v += 2L * F_BYTES) {
                FloatVector w0 = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q, LE).convertShape(B2I, I, 0)).convertShape(I2F, F, 0);
                FloatVector w1 = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + LANES, LE).convertShape(B2I, I, 0)).convertShape(I2F, F, 0);
                FloatVector v0 = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + 16 * ROWS, LE).convertShape(B2I, I, 0)).convertShape(I2F, F, 0);
                FloatVector v1 = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + 16 * ROWS + LANES, LE).convertShape(B2I, I, 0)).convertShape(I2F, F, 0);
                products0 = w0.fma(v0, products0);
                products1 = w1.fma(v1, products1);
                w0.intoMemorySegment(ALL, v, LE);
                w1.intoMemorySegment(ALL, v + F_BYTES, LE);
                v0.intoMemorySegment(ALL, v + 32L * F_BYTES, LE);
                v1.intoMemorySegment(ALL, v + 33L * F_BYTES, LE);
            }
            products0.neg().intoMemorySegment(ALL, out + 2L * F_BYTES, LE);
            products1.neg().intoMemorySegment(ALL, out + 3L * F_BYTES, LE);
            out += WinogradKernel.BLOCK;
        }
        return target;
    }
}
