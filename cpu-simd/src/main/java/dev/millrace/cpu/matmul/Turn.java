package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.F;

import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * From [8 tokens][columns] to [column][8 tokens]. Eight vectors in a row, numbered on by token and column, come into the
 * order column, token when the three bits of the token are moved below those of the column; weaving the first four vectors
 * into the last four moves one of them.
 */
final class Turn {
    /** Columns that are turned at a time. */
    static final int COLUMNS = Lanes.COUNT;

    private static final VectorSpecies<Integer> I = Lanes.I;
    /** Lanes 0, n, 1, n + 1, ... of two vectors of n lanes; and the same for their upper halves. */
    private static final IntVector LOW = IntVector.fromArray(I, weave(0), 0);

    private static final IntVector HIGH = IntVector.fromArray(I, weave(Lanes.COUNT / 2), 0);

    private Turn() {}

    private static int[] weave(int from) {
        int[] lanes = new int[Lanes.COUNT];
        for (int i = 0; i < lanes.length; i++) {
            lanes[i] = from + i / 2 + i % 2 * lanes.length;
        }
        return lanes;
    }

    /** Turns {@link #COLUMNS} columns of 8 rows, {@code stride} floats apart from {@code at}, to {@code out} from {@code to}. */
    static void turn(float[] in, int at, int stride, int[] out, int to) {
        IntVector a0 = FloatVector.fromArray(F, in, at).reinterpretAsInts();
        IntVector a1 = FloatVector.fromArray(F, in, at + stride).reinterpretAsInts();
        IntVector a2 = FloatVector.fromArray(F, in, at + 2 * stride).reinterpretAsInts();
        IntVector a3 = FloatVector.fromArray(F, in, at + 3 * stride).reinterpretAsInts();
        IntVector a4 = FloatVector.fromArray(F, in, at + 4 * stride).reinterpretAsInts();
        IntVector a5 = FloatVector.fromArray(F, in, at + 5 * stride).reinterpretAsInts();
        IntVector a6 = FloatVector.fromArray(F, in, at + 6 * stride).reinterpretAsInts();
        IntVector a7 = FloatVector.fromArray(F, in, at + 7 * stride).reinterpretAsInts();
        IntVector b0 = LOW.selectFrom(a0, a4);
        IntVector b1 = HIGH.selectFrom(a0, a4);
        IntVector b2 = LOW.selectFrom(a1, a5);
        IntVector b3 = HIGH.selectFrom(a1, a5);
        IntVector b4 = LOW.selectFrom(a2, a6);
        IntVector b5 = HIGH.selectFrom(a2, a6);
        IntVector b6 = LOW.selectFrom(a3, a7);
        IntVector b7 = HIGH.selectFrom(a3, a7);
        a0 = LOW.selectFrom(b0, b4);
        a1 = HIGH.selectFrom(b0, b4);
        a2 = LOW.selectFrom(b1, b5);
        a3 = HIGH.selectFrom(b1, b5);
        a4 = LOW.selectFrom(b2, b6);
        a5 = HIGH.selectFrom(b2, b6);
        a6 = LOW.selectFrom(b3, b7);
        a7 = HIGH.selectFrom(b3, b7);
        int v = COLUMNS;
        LOW.selectFrom(a0, a4).intoArray(out, to);
        HIGH.selectFrom(a0, a4).intoArray(out, to + v);
        LOW.selectFrom(a1, a5).intoArray(out, to + 2 * v);
        HIGH.selectFrom(a1, a5).intoArray(out, to + 3 * v);
        LOW.selectFrom(a2, a6).intoArray(out, to + 4 * v);
        HIGH.selectFrom(a2, a6).intoArray(out, to + 5 * v);
        LOW.selectFrom(a3, a7).intoArray(out, to + 6 * v);
        HIGH.selectFrom(a3, a7).intoArray(out, to + 7 * v);
    }

    /** The same to floats: a vector cannot leave a method to be stored by two (see {@code VectorMath}). */
    static void turn(float[] in, int at, int stride, float[] out, int to) {
        IntVector a0 = FloatVector.fromArray(F, in, at).reinterpretAsInts();
        IntVector a1 = FloatVector.fromArray(F, in, at + stride).reinterpretAsInts();
        IntVector a2 = FloatVector.fromArray(F, in, at + 2 * stride).reinterpretAsInts();
        IntVector a3 = FloatVector.fromArray(F, in, at + 3 * stride).reinterpretAsInts();
        IntVector a4 = FloatVector.fromArray(F, in, at + 4 * stride).reinterpretAsInts();
        IntVector a5 = FloatVector.fromArray(F, in, at + 5 * stride).reinterpretAsInts();
        IntVector a6 = FloatVector.fromArray(F, in, at + 6 * stride).reinterpretAsInts();
        IntVector a7 = FloatVector.fromArray(F, in, at + 7 * stride).reinterpretAsInts();
        IntVector b0 = LOW.selectFrom(a0, a4);
        IntVector b1 = HIGH.selectFrom(a0, a4);
        IntVector b2 = LOW.selectFrom(a1, a5);
        IntVector b3 = HIGH.selectFrom(a1, a5);
        IntVector b4 = LOW.selectFrom(a2, a6);
        IntVector b5 = HIGH.selectFrom(a2, a6);
        IntVector b6 = LOW.selectFrom(a3, a7);
        IntVector b7 = HIGH.selectFrom(a3, a7);
        a0 = LOW.selectFrom(b0, b4);
        a1 = HIGH.selectFrom(b0, b4);
        a2 = LOW.selectFrom(b1, b5);
        a3 = HIGH.selectFrom(b1, b5);
        a4 = LOW.selectFrom(b2, b6);
        a5 = HIGH.selectFrom(b2, b6);
        a6 = LOW.selectFrom(b3, b7);
        a7 = HIGH.selectFrom(b3, b7);
        int v = COLUMNS;
        LOW.selectFrom(a0, a4).reinterpretAsFloats().intoArray(out, to);
        HIGH.selectFrom(a0, a4).reinterpretAsFloats().intoArray(out, to + v);
        LOW.selectFrom(a1, a5).reinterpretAsFloats().intoArray(out, to + 2 * v);
        HIGH.selectFrom(a1, a5).reinterpretAsFloats().intoArray(out, to + 3 * v);
        LOW.selectFrom(a2, a6).reinterpretAsFloats().intoArray(out, to + 4 * v);
        HIGH.selectFrom(a2, a6).reinterpretAsFloats().intoArray(out, to + 5 * v);
        LOW.selectFrom(a3, a7).reinterpretAsFloats().intoArray(out, to + 6 * v);
        HIGH.selectFrom(a3, a7).reinterpretAsFloats().intoArray(out, to + 7 * v);
    }
}
