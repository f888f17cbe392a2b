package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.F;
import static dev.millrace.cpu.matmul.Panel.F_BYTES;
import static dev.millrace.cpu.matmul.Panel.LE;
import static dev.millrace.cpu.matmul.Panel.ROWS;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.ZERO_EXTEND_S2I;

import dev.millrace.cpu.Lanes;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Bfloat16 weights: a panel is [column][row] of 16 bits, the upper half of a float.
 */
final class Bf16Panels implements FloatPanels {
    static final Bf16Panels INSTANCE = new Bf16Panels();

    /** Bytes of a column of a panel. */
    private static final long COLUMN = 2L * ROWS;

    private static final VectorSpecies<Short> H = Lanes.HALF_S;
    private static final VectorSpecies<Integer> I = Lanes.I;

    private Bf16Panels() {}

    @Override
    public long panelBytes(int inputs) {
        return COLUMN * inputs;
    }

    @Override
    public void pack(MemorySegment source, int inputs, long target) {
        Packing.write(Packing.turned(source, inputs), target);
    }

    @Override
    public void gemv(long panel, int inputs, Activations x, int token, float[] y, int yAt) {
        dot(panel, inputs, x.rows.data(), x.rows.at(token), y, yAt);
    }

    /** Four columns, four cache lines, at a time; a long loop, since an int loop is unrolled out of address order. */
    private static void dot(long panel, int inputs, float[] x, int xAt, float[] y, int yAt) {
        FloatVector a = FloatVector.zero(F);
        FloatVector b = FloatVector.zero(F);
        long end = panel + COLUMN * inputs;
        int k = xAt;
        long o = panel;
        for (long end4 = panel + COLUMN * (inputs & ~3); o < end4; o += 4 * COLUMN, k += 4) {
            FloatVector x0 = FloatVector.broadcast(F, x[k]);
            FloatVector x1 = FloatVector.broadcast(F, x[k + 1]);
            FloatVector x2 = FloatVector.broadcast(F, x[k + 2]);
            FloatVector x3 = FloatVector.broadcast(F, x[k + 3]);
            a = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x0, a);
            b = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN / 2, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x0, b);
            a = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x1, a);
            b = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN + COLUMN / 2, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x1, b);
            a = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + 2 * COLUMN, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x2, a);
            b = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + 2 * COLUMN + COLUMN / 2, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x2, b);
            a = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + 3 * COLUMN, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x3, a);
            b = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + 3 * COLUMN + COLUMN / 2, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x3, b);
        }
        for (; o < end; o += COLUMN, k++) {
            FloatVector x0 = FloatVector.broadcast(F, x[k]);
            a = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x0, a);
            b = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN / 2, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x0, b);
        }
        a.intoArray(y, yAt);
        b.intoArray(y, yAt + Panel.LANES);
    }

    @Override
    public void four(
            long panel, int inputs, float[] x, int x0, int x1, int x2, int x3, float[] y, int yAt) {
        FloatVector a0 = FloatVector.zero(F), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        int k = 0;
        for (long o = panel, end = o + COLUMN * inputs; o < end; o += COLUMN, k++) {
            FloatVector w0 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats();
            FloatVector w1 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN / 2, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats();
            FloatVector v = FloatVector.broadcast(F, x[x0 + k]);
            a0 = w0.fma(v, a0);
            b0 = w1.fma(v, b0);
            v = FloatVector.broadcast(F, x[x1 + k]);
            a1 = w0.fma(v, a1);
            b1 = w1.fma(v, b1);
            v = FloatVector.broadcast(F, x[x2 + k]);
            a2 = w0.fma(v, a2);
            b2 = w1.fma(v, b2);
            v = FloatVector.broadcast(F, x[x3 + k]);
            a3 = w0.fma(v, a3);
            b3 = w1.fma(v, b3);
        }
        a0.intoArray(y, yAt);
        b0.intoArray(y, yAt + Panel.LANES);
        a1.intoArray(y, yAt + ROWS);
        b1.intoArray(y, yAt + ROWS + Panel.LANES);
        a2.intoArray(y, yAt + 2 * ROWS);
        b2.intoArray(y, yAt + 2 * ROWS + Panel.LANES);
        a3.intoArray(y, yAt + 3 * ROWS);
        b3.intoArray(y, yAt + 3 * ROWS + Panel.LANES);
    }

    @Override
    public long unpack(long panel, int from, int to, long target) {
        long out = target;
        for (long o = panel + COLUMN * from, end = panel + COLUMN * to; o < end; o += COLUMN, out += 2L * F_BYTES) {
            ((IntVector) ShortVector.fromMemorySegment(H, ALL, o, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().intoMemorySegment(ALL, out, LE);
            ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN / 2, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().intoMemorySegment(ALL, out + F_BYTES, LE);
        }
        return target;
    }
}
