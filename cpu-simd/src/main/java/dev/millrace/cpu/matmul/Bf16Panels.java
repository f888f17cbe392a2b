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
final class Bf16Panels implements UnpackedKernels {
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
    public Form form() {
        return Form.FLOATS;
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
    public long unpack(long panel, int from, int to, long target) {
        long out = target;
        for (long o = panel + COLUMN * from, end = panel + COLUMN * to; o < end; o += COLUMN, out += 2L * F_BYTES) {
            ((IntVector) ShortVector.fromMemorySegment(H, ALL, o, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().intoMemorySegment(ALL, out, LE);
            ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN / 2, LE).convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().intoMemorySegment(ALL, out + F_BYTES, LE);
        }
        return target;
    }
}
