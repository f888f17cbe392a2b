package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.F;
import static dev.millrace.cpu.matmul.Panel.F_BYTES;
import static dev.millrace.cpu.matmul.Panel.LANES;
import static dev.millrace.cpu.matmul.Panel.LE;
import static dev.millrace.cpu.matmul.Panel.ROWS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static jdk.incubator.vector.VectorOperators.B2I;
import static jdk.incubator.vector.VectorOperators.I2F;

import dev.millrace.cpu.Lanes;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * Q8_0 weights: 32 columns of a row share a half-float scale. A panel is, for every 32 columns, the rows' scales and
 * then [column][row] bytes. Activations stay float32: no accuracy is lost beyond the weights'.
 */
final class Q8Panels implements PanelKernels {
    static final Q8Panels INSTANCE = new Q8Panels();

    private static final VectorSpecies<Byte> B = VectorShape.forBitSize(Math.max(64, Lanes.BITS / 4)).withLanes(byte.class);
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final int SCALES = 2 * ROWS;
    private static final int BLOCK = SCALES + 32 * ROWS;
    private static final int SOURCE_BLOCK = 34;

    private Q8Panels() {}

    @Override
    public long panelBytes(int inputs) {
        return (long) BLOCK * (inputs / 32);
    }

    @Override
    public void pack(MemorySegment source, int inputs, long target) {
        int blocks = inputs / 32;
        for (int r = 0; r < ROWS; r++) {
            for (int g = 0; g < blocks; g++) {
                long in = ((long) r * blocks + g) * SOURCE_BLOCK;
                long out = target + (long) g * BLOCK;
                ALL.set(JAVA_SHORT_UNALIGNED, out + 2 * r, source.get(JAVA_SHORT_UNALIGNED, in));
                for (int k = 0; k < 32; k++) {
                    ALL.set(JAVA_BYTE, out + SCALES + k * ROWS + r, source.get(JAVA_BYTE, in + 2 + k));
                }
            }
        }
    }

    @Override
    public void gemv(long weights, int panels, int inputs, Activations x, float[] y, int yAt) {
        for (int p = 0; p < panels; p++) {
            dot(weights + p * panelBytes(inputs), inputs, x.rows.data(), x.rows.offset(), y, yAt + p * ROWS);
        }
    }

    private static void dot(long panel, int inputs, float[] x, int xAt, float[] y, int yAt) {
        FloatVector a = FloatVector.zero(F);
        FloatVector b = FloatVector.zero(F);
        int k = xAt;
        for (long o = panel, end = panel + (long) BLOCK * (inputs / 32); o < end; o += BLOCK) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector b0 = FloatVector.zero(F);
            FloatVector b1 = FloatVector.zero(F);
            for (long q = o + SCALES, last = o + BLOCK; q < last; q += 4 * ROWS, k += 4) {
                FloatVector x0 = FloatVector.broadcast(F, x[k]);
                FloatVector x1 = FloatVector.broadcast(F, x[k + 1]);
                FloatVector x2 = FloatVector.broadcast(F, x[k + 2]);
                FloatVector x3 = FloatVector.broadcast(F, x[k + 3]);
                a0 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q, LE).convertShape(B2I, I, 0)).convert(I2F, 0)).fma(x0, a0);
                b0 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + LANES, LE).convertShape(B2I, I, 0)).convert(I2F, 0)).fma(x0, b0);
                a1 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + ROWS, LE).convertShape(B2I, I, 0)).convert(I2F, 0)).fma(x1, a1);
                b1 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + ROWS + LANES, LE).convertShape(B2I, I, 0)).convert(I2F, 0)).fma(x1, b1);
                a0 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + 2 * ROWS, LE).convertShape(B2I, I, 0)).convert(I2F, 0)).fma(x2, a0);
                b0 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + 2 * ROWS + LANES, LE).convertShape(B2I, I, 0)).convert(I2F, 0)).fma(x2, b0);
                a1 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + 3 * ROWS, LE).convertShape(B2I, I, 0)).convert(I2F, 0)).fma(x3, a1);
                b1 = ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + 3 * ROWS + LANES, LE).convertShape(B2I, I, 0)).convert(I2F, 0)).fma(x3, b1);
            }
            a = a0.add(a1).fma(F16Panels.half(o), a);
            b = b0.add(b1).fma(F16Panels.half(o + 2 * LANES), b);
        }
        a.mul(F16Panels.HALF_SCALE).intoArray(y, yAt);
        b.mul(F16Panels.HALF_SCALE).intoArray(y, yAt + LANES);
    }

    @Override
    public void unpack(long panel, int from, int to, long target) {
        long out = target;
        for (long o = panel + (long) BLOCK * (from / 32), end = panel + (long) BLOCK * (to / 32); o < end; o += BLOCK) {
            FloatVector d0 = F16Panels.half(o).mul(F16Panels.HALF_SCALE);
            FloatVector d1 = F16Panels.half(o + 2 * LANES).mul(F16Panels.HALF_SCALE);
            for (long q = o + SCALES, last = o + BLOCK; q < last; q += ROWS, out += 2L * F_BYTES) {
                ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q, LE).convertShape(B2I, I, 0)).convert(I2F, 0)).mul(d0).intoMemorySegment(ALL, out, LE);
                ((FloatVector) ((IntVector) ByteVector.fromMemorySegment(B, ALL, q + LANES, LE).convertShape(B2I, I, 0)).convert(I2F, 0)).mul(d1).intoMemorySegment(ALL, out + F_BYTES, LE);
            }
        }
    }
}
