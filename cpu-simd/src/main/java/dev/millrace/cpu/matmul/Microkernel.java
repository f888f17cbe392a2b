package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.F;
import static dev.millrace.cpu.matmul.Panel.F_BYTES;
import static dev.millrace.cpu.matmul.Panel.LANES;
import static dev.millrace.cpu.matmul.Panel.LE;
import static dev.millrace.cpu.matmul.Panel.ROWS;

import jdk.incubator.vector.FloatVector;

/**
 * The product that all matrix products in float32 come down to: a block of tokens times a panel, with the sums in
 * registers. 8 tokens by two vectors are 16 sums; with two vectors of weights and one of a token's value that is 19 of
 * AVX-512's 32 registers, and each weight is loaded once for 16 multiply-adds.
 */
final class Microkernel {
    static final int TOKENS = 8;

    private Microkernel() {}

    /**
     * {@code c[t][r] += sum over k of a[k][t] * w[k][r]}.
     *
     * @param a token block, [columns][TOKENS] from {@code aAt}
     * @param w address of [columns][Panel.ROWS] floats
     * @param c sums, [TOKENS][Panel.ROWS] from {@code cAt}
     * @param first whether the sums start at zero instead of at {@code c}
     */
    static void multiply(float[] a, int aAt, long w, int columns, float[] c, int cAt, boolean first) {
        FloatVector c00 = FloatVector.zero(F), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00;
        FloatVector c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00, c60 = c00, c61 = c00, c70 = c00, c71 = c00;
        if (!first) {
            c00 = FloatVector.fromArray(F, c, cAt);
            c01 = FloatVector.fromArray(F, c, cAt + LANES);
            c10 = FloatVector.fromArray(F, c, cAt + ROWS);
            c11 = FloatVector.fromArray(F, c, cAt + ROWS + LANES);
            c20 = FloatVector.fromArray(F, c, cAt + 2 * ROWS);
            c21 = FloatVector.fromArray(F, c, cAt + 2 * ROWS + LANES);
            c30 = FloatVector.fromArray(F, c, cAt + 3 * ROWS);
            c31 = FloatVector.fromArray(F, c, cAt + 3 * ROWS + LANES);
            c40 = FloatVector.fromArray(F, c, cAt + 4 * ROWS);
            c41 = FloatVector.fromArray(F, c, cAt + 4 * ROWS + LANES);
            c50 = FloatVector.fromArray(F, c, cAt + 5 * ROWS);
            c51 = FloatVector.fromArray(F, c, cAt + 5 * ROWS + LANES);
            c60 = FloatVector.fromArray(F, c, cAt + 6 * ROWS);
            c61 = FloatVector.fromArray(F, c, cAt + 6 * ROWS + LANES);
            c70 = FloatVector.fromArray(F, c, cAt + 7 * ROWS);
            c71 = FloatVector.fromArray(F, c, cAt + 7 * ROWS + LANES);
        }
        for (int k = 0; k < columns; k++) {
            long o = w + 2L * F_BYTES * k;
            int i = aAt + TOKENS * k;
            FloatVector w0 = FloatVector.fromMemorySegment(F, ALL, o, LE);
            FloatVector w1 = FloatVector.fromMemorySegment(F, ALL, o + F_BYTES, LE);
            FloatVector x = FloatVector.broadcast(F, a[i]);
            c00 = x.fma(w0, c00);
            c01 = x.fma(w1, c01);
            x = FloatVector.broadcast(F, a[i + 1]);
            c10 = x.fma(w0, c10);
            c11 = x.fma(w1, c11);
            x = FloatVector.broadcast(F, a[i + 2]);
            c20 = x.fma(w0, c20);
            c21 = x.fma(w1, c21);
            x = FloatVector.broadcast(F, a[i + 3]);
            c30 = x.fma(w0, c30);
            c31 = x.fma(w1, c31);
            x = FloatVector.broadcast(F, a[i + 4]);
            c40 = x.fma(w0, c40);
            c41 = x.fma(w1, c41);
            x = FloatVector.broadcast(F, a[i + 5]);
            c50 = x.fma(w0, c50);
            c51 = x.fma(w1, c51);
            x = FloatVector.broadcast(F, a[i + 6]);
            c60 = x.fma(w0, c60);
            c61 = x.fma(w1, c61);
            x = FloatVector.broadcast(F, a[i + 7]);
            c70 = x.fma(w0, c70);
            c71 = x.fma(w1, c71);
        }
        c00.intoArray(c, cAt);
        c01.intoArray(c, cAt + LANES);
        c10.intoArray(c, cAt + ROWS);
        c11.intoArray(c, cAt + ROWS + LANES);
        c20.intoArray(c, cAt + 2 * ROWS);
        c21.intoArray(c, cAt + 2 * ROWS + LANES);
        c30.intoArray(c, cAt + 3 * ROWS);
        c31.intoArray(c, cAt + 3 * ROWS + LANES);
        c40.intoArray(c, cAt + 4 * ROWS);
        c41.intoArray(c, cAt + 4 * ROWS + LANES);
        c50.intoArray(c, cAt + 5 * ROWS);
        c51.intoArray(c, cAt + 5 * ROWS + LANES);
        c60.intoArray(c, cAt + 6 * ROWS);
        c61.intoArray(c, cAt + 6 * ROWS + LANES);
        c70.intoArray(c, cAt + 7 * ROWS);
        c71.intoArray(c, cAt + 7 * ROWS + LANES);
    }
}
