package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.F;
import static dev.millrace.cpu.matmul.Panel.LE;
import static dev.millrace.cpu.matmul.Panel.ROWS;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;

/**
 * Float32 weights: a panel is [column][row] floats.
 */
final class F32Panels implements FloatPanels {
    static final F32Panels INSTANCE = new F32Panels();

    /** Bytes of a column of a panel. */
    private static final long COLUMN = 4L * ROWS;

    private F32Panels() {}

    @Override
    public long panelBytes(int inputs) {
        return COLUMN * inputs;
    }

    @Override
    public void pack(MemorySegment source, int inputs, long target) {
        Packing.words(source, inputs, target);
    }

    @Override
    public void gemv(long panel, int inputs, Activations x, int token, float[] y, int yAt) {
        dot(panel, inputs, x.rows.data(), x.rows.at(token), y, yAt, false);
    }

    /** Four columns, eight cache lines, at a time; a long loop, since an int loop is unrolled out of address order. */
    static void dot(long panel, int inputs, float[] x, int xAt, float[] y, int yAt, boolean add) {
        FloatVector a = add ? FloatVector.fromArray(F, y, yAt) : FloatVector.zero(F);
        FloatVector b = add ? FloatVector.fromArray(F, y, yAt + Panel.LANES) : FloatVector.zero(F);
        long end = panel + COLUMN * inputs;
        int k = xAt;
        long o = panel;
        for (long end4 = panel + COLUMN * (inputs & ~3); o < end4; o += 4 * COLUMN, k += 4) {
            FloatVector x0 = FloatVector.broadcast(F, x[k]);
            FloatVector x1 = FloatVector.broadcast(F, x[k + 1]);
            FloatVector x2 = FloatVector.broadcast(F, x[k + 2]);
            FloatVector x3 = FloatVector.broadcast(F, x[k + 3]);
            a = FloatVector.fromMemorySegment(F, ALL, o, LE).fma(x0, a);
            b = FloatVector.fromMemorySegment(F, ALL, o + COLUMN / 2, LE).fma(x0, b);
            a = FloatVector.fromMemorySegment(F, ALL, o + COLUMN, LE).fma(x1, a);
            b = FloatVector.fromMemorySegment(F, ALL, o + COLUMN + COLUMN / 2, LE).fma(x1, b);
            a = FloatVector.fromMemorySegment(F, ALL, o + 2 * COLUMN, LE).fma(x2, a);
            b = FloatVector.fromMemorySegment(F, ALL, o + 2 * COLUMN + COLUMN / 2, LE).fma(x2, b);
            a = FloatVector.fromMemorySegment(F, ALL, o + 3 * COLUMN, LE).fma(x3, a);
            b = FloatVector.fromMemorySegment(F, ALL, o + 3 * COLUMN + COLUMN / 2, LE).fma(x3, b);
        }
        for (; o < end; o += COLUMN, k++) {
            FloatVector x0 = FloatVector.broadcast(F, x[k]);
            a = FloatVector.fromMemorySegment(F, ALL, o, LE).fma(x0, a);
            b = FloatVector.fromMemorySegment(F, ALL, o + COLUMN / 2, LE).fma(x0, b);
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
            FloatVector w0 = FloatVector.fromMemorySegment(F, ALL, o, LE);
            FloatVector w1 = FloatVector.fromMemorySegment(F, ALL, o + COLUMN / 2, LE);
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

    /** Nothing to do. */
    @Override
    public long unpack(long panel, int from, int to, long target) {
        return panel + COLUMN * from;
    }
}
