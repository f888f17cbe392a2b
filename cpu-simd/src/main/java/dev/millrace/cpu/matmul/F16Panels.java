package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.F;
import static dev.millrace.cpu.matmul.Panel.F_BYTES;
import static dev.millrace.cpu.matmul.Panel.LE;
import static dev.millrace.cpu.matmul.Panel.ROWS;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.S2I;

import dev.millrace.cpu.Lanes;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Float16 weights: a panel is [column][row] of IEEE half floats.
 * {@link Halves} says how they become floats. Halves that are infinite or not a number come out as large numbers.
 */
final class F16Panels implements FloatPanels {
    static final F16Panels INSTANCE = new F16Panels();

    /** Bytes of a column of a panel. */
    private static final long COLUMN = 2L * ROWS;

    private static final VectorSpecies<Short> H = Lanes.HALF_S;
    private static final VectorSpecies<Integer> I = Lanes.I;

    private F16Panels() {}

    @Override
    public long panelBytes(int inputs) {
        return Halves.HEADER + COLUMN * inputs;
    }

    @Override
    public void pack(MemorySegment source, int inputs, long target) {
        write(Packing.turned(source, inputs), target);
    }

    /** Writes a panel of [column][row] halves, which it changes. */
    static void write(short[] panel, long target) {
        if (Halves.header(target, Packing.largestHalf(panel, 1))) {
            Halves.scale(panel);
        }
        Packing.write(panel, target + Halves.HEADER);
    }

    @Override
    public void gemv(long panel, int inputs, Activations x, int token, float[] y, int yAt) {
        dot(panel, inputs, x.rows.data(), x.rows.at(token), y, yAt);
    }

    /** Four columns, four cache lines, at a time; a long loop, since an int loop is unrolled out of address order. */
    private static void dot(long panel, int inputs, float[] x, int xAt, float[] y, int yAt) {
        FloatVector a = FloatVector.zero(F);
        FloatVector b = FloatVector.zero(F);
        float factor = Halves.factor(panel);
        int k = xAt;
        long o = panel + Halves.HEADER;
        long end = o + COLUMN * inputs;
        for (long end4 = o + COLUMN * (inputs & ~3); o < end4; o += 4 * COLUMN, k += 4) {
            FloatVector x0 = FloatVector.broadcast(F, x[k]);
            FloatVector x1 = FloatVector.broadcast(F, x[k + 1]);
            FloatVector x2 = FloatVector.broadcast(F, x[k + 2]);
            FloatVector x3 = FloatVector.broadcast(F, x[k + 3]);
            a = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().fma(x0, a);
            b = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN / 2, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().fma(x0, b);
            a = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().fma(x1, a);
            b = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN + COLUMN / 2, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().fma(x1, b);
            a = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + 2 * COLUMN, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().fma(x2, a);
            b = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + 2 * COLUMN + COLUMN / 2, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().fma(x2, b);
            a = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + 3 * COLUMN, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().fma(x3, a);
            b = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + 3 * COLUMN + COLUMN / 2, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().fma(x3, b);
        }
        for (; o < end; o += COLUMN, k++) {
            FloatVector x0 = FloatVector.broadcast(F, x[k]);
            a = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().fma(x0, a);
            b = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN / 2, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().fma(x0, b);
        }
        a.mul(factor).intoArray(y, yAt);
        b.mul(factor).intoArray(y, yAt + Panel.LANES);
    }

    @Override
    public void four(
            long panel, int inputs, float[] x, int x0, int x1, int x2, int x3, float[] y, int yAt) {
        FloatVector a0 = FloatVector.zero(F), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        float factor = Halves.factor(panel);
        int k = 0;
        for (long o = panel + Halves.HEADER, end = o + COLUMN * inputs; o < end; o += COLUMN, k++) {
            FloatVector w0 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats();
            FloatVector w1 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN / 2, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats();
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
        a0.mul(factor).intoArray(y, yAt);
        b0.mul(factor).intoArray(y, yAt + Panel.LANES);
        a1.mul(factor).intoArray(y, yAt + ROWS);
        b1.mul(factor).intoArray(y, yAt + ROWS + Panel.LANES);
        a2.mul(factor).intoArray(y, yAt + 2 * ROWS);
        b2.mul(factor).intoArray(y, yAt + 2 * ROWS + Panel.LANES);
        a3.mul(factor).intoArray(y, yAt + 3 * ROWS);
        b3.mul(factor).intoArray(y, yAt + 3 * ROWS + Panel.LANES);
    }

    @Override
    public long unpack(long panel, int from, int to, long target) {
        float factor = Halves.factor(panel);
        long start = panel + Halves.HEADER;
        long out = target;
        for (long o = start + COLUMN * from, end = start + COLUMN * to; o < end; o += COLUMN, out += 2L * F_BYTES) {
            ((IntVector) ShortVector.fromMemorySegment(H, ALL, o, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().mul(factor).intoMemorySegment(ALL, out, LE);
            ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + COLUMN / 2, LE).convertShape(S2I, I, 0)).lanewise(LSHL, 13).and(Halves.BITS).reinterpretAsFloats().mul(factor).intoMemorySegment(ALL, out + F_BYTES, LE);
        }
        return target;
    }
}
