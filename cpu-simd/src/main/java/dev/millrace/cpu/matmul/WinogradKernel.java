package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ADDRESS;
import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.F;
import static dev.millrace.cpu.matmul.Panel.F_BYTES;
import static dev.millrace.cpu.matmul.Panel.LANES;
import static dev.millrace.cpu.matmul.Panel.LE;
import static dev.millrace.cpu.matmul.Panel.ROWS;

import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The product that int8 weights of many tokens come down to: 8 tokens times a panel, as in {@link Microkernel}, with a
 * scale for every 32 columns of weights and of activations.
 *
 * <p>A core that multiplies and adds at its full rate leaves the units that can only add idle. Winograd's inner product
 * (S. Winograd, A New Algorithm for Inner Product, IEEE Transactions on Computers C-17, 1968) trades one for the other:
 * w0 x0 + w1 x1 = (w0 + x1)(w1 + x0) - w0 w1 - x0 x1, where the last two terms are sums of the weights and of the
 * activations alone, computed once for all tokens and for all rows. That is one multiply-add and two additions for two
 * products. 11 of the 16 sums take this way and 5 the plain one, so that on cores with two units of each kind both are
 * busy: 368 and 363 operations for every 32 columns, where the plain way alone needs 512 multiply-adds.
 *
 * <p>Activations are scaled so that the largest of 32 columns is {@value #LIMIT}, as large as weights get: then w + x loses
 * no more of either than a float32 sum does.
 */
final class WinogradKernel {
    /** Largest magnitude of a scaled activation. */
    static final int LIMIT = 127;

    static final int TOKENS = Microkernel.TOKENS;

    /** Bytes of 32 columns of a panel: scales, minus the sums of w[k] w[k + 16], and [column][row], all floats. */
    static final int BLOCK = 4 * ROWS * (2 + 32);

    /** Ints of 32 columns of 8 tokens: scales, minus the sums of x[k] x[k + 16], and [column][token], all bits of floats. */
    static final int INPUT = TOKENS * (2 + 32);

    /**
     * An index that is never reached. The compiler would load the values of all 8 tokens before it uses the first, more than
     * there are registers, were there not a test between them whose other way needs the sums so far.
     */
    private static final int NEVER = Integer.MAX_VALUE - 1024;

    private static final VectorSpecies<Integer> I = Lanes.I;

    private WinogradKernel() {}

    /**
     * {@code c[t][r] += sum over blocks of s[t] d[r] (sum over 32 columns of x[k][t] w[k][r])}.
     *
     * @param x {@code blocks} times {@link #INPUT} ints from {@code from}: ints, since a float is broadcast by one more
     *     operation of a unit that is needed here
     * @param w address of {@code blocks} times {@link #BLOCK} bytes
     * @param c sums, [TOKENS][Panel.ROWS] from {@code at}
     * @param first whether the sums start at zero instead of at {@code c}
     */
    static void multiply(int[] x, int from, long w, int blocks, float[] c, int at, boolean first) {
        for (int i = 0; first && i < TOKENS * ROWS; i += LANES) {
            FloatVector.zero(F).intoArray(c, at + i);
        }
        for (int b = 0; b < blocks; b++) {
            long d = w + (long) BLOCK * b & ADDRESS;
            int s = from + INPUT * b;
            FloatVector c00 = FloatVector.fromMemorySegment(F, ALL, d + 2 * F_BYTES, LE);
            FloatVector c01 = FloatVector.fromMemorySegment(F, ALL, d + 3 * F_BYTES, LE);
            FloatVector c10 = c00, c11 = c01, c20 = c00, c21 = c01, c30 = c00, c31 = c01, c40 = c00, c41 = c01, c50 = c00;
            FloatVector c51 = FloatVector.zero(F), c60 = c51, c61 = c51, c70 = c51, c71 = c51;
            for (int k = 0; k < 16; k++) {
                long o = d + 4 * F_BYTES + 2L * F_BYTES * k & ADDRESS;
                int i = s + 2 * TOKENS + TOKENS * k;
                FloatVector w0 = FloatVector.fromMemorySegment(F, ALL, o, LE);
                FloatVector w1 = FloatVector.fromMemorySegment(F, ALL, o + F_BYTES, LE);
                FloatVector v0 = FloatVector.fromMemorySegment(F, ALL, o + 32 * F_BYTES, LE);
                FloatVector v1 = FloatVector.fromMemorySegment(F, ALL, o + 33 * F_BYTES, LE);
                FloatVector x0 = IntVector.broadcast(I, x[i]).reinterpretAsFloats();
                FloatVector x1 = IntVector.broadcast(I, x[i + 128]).reinterpretAsFloats();
                c00 = w0.add(x1).fma(v0.add(x0), c00);
                c01 = w1.add(x1).fma(v1.add(x0), c01);
                x0 = IntVector.broadcast(I, x[i + 1]).reinterpretAsFloats();
                x1 = IntVector.broadcast(I, x[i + 129]).reinterpretAsFloats();
                c10 = w0.add(x1).fma(v0.add(x0), c10);
                c11 = w1.add(x1).fma(v1.add(x0), c11);
                if (i == NEVER + 1) {
                    break;
                }
                x0 = IntVector.broadcast(I, x[i + 2]).reinterpretAsFloats();
                x1 = IntVector.broadcast(I, x[i + 130]).reinterpretAsFloats();
                c20 = w0.add(x1).fma(v0.add(x0), c20);
                c21 = w1.add(x1).fma(v1.add(x0), c21);
                x0 = IntVector.broadcast(I, x[i + 3]).reinterpretAsFloats();
                x1 = IntVector.broadcast(I, x[i + 131]).reinterpretAsFloats();
                c30 = w0.add(x1).fma(v0.add(x0), c30);
                c31 = w1.add(x1).fma(v1.add(x0), c31);
                if (i == NEVER + 2) {
                    break;
                }
                x0 = IntVector.broadcast(I, x[i + 4]).reinterpretAsFloats();
                x1 = IntVector.broadcast(I, x[i + 132]).reinterpretAsFloats();
                c40 = w0.add(x1).fma(v0.add(x0), c40);
                c41 = w1.add(x1).fma(v1.add(x0), c41);
                x0 = IntVector.broadcast(I, x[i + 5]).reinterpretAsFloats();
                x1 = IntVector.broadcast(I, x[i + 133]).reinterpretAsFloats();
                c50 = w0.add(x1).fma(v0.add(x0), c50);
                c51 = w1.fma(x0, c51);
                c51 = v1.fma(x1, c51);
                if (i == NEVER + 3) {
                    break;
                }
                x0 = IntVector.broadcast(I, x[i + 6]).reinterpretAsFloats();
                x1 = IntVector.broadcast(I, x[i + 134]).reinterpretAsFloats();
                c60 = w0.fma(x0, c60);
                c61 = w1.fma(x0, c61);
                c60 = v0.fma(x1, c60);
                c61 = v1.fma(x1, c61);
                x0 = IntVector.broadcast(I, x[i + 7]).reinterpretAsFloats();
                x1 = IntVector.broadcast(I, x[i + 135]).reinterpretAsFloats();
                c70 = w0.fma(x0, c70);
                c71 = w1.fma(x0, c71);
                c70 = v0.fma(x1, c70);
                c71 = v1.fma(x1, c71);
            }
            FloatVector d0 = FloatVector.fromMemorySegment(F, ALL, d, LE);
            FloatVector d1 = FloatVector.fromMemorySegment(F, ALL, d + F_BYTES, LE);
            FloatVector z;
            FloatVector e;
            e = IntVector.broadcast(I, x[s]).reinterpretAsFloats();
            z = IntVector.broadcast(I, x[s + 8]).reinterpretAsFloats();
            c00.add(z).fma(d0.mul(e), FloatVector.fromArray(F, c, at)).intoArray(c, at);
            c01.add(z).fma(d1.mul(e), FloatVector.fromArray(F, c, at + LANES)).intoArray(c, at + LANES);
            e = IntVector.broadcast(I, x[s + 1]).reinterpretAsFloats();
            z = IntVector.broadcast(I, x[s + 9]).reinterpretAsFloats();
            c10.add(z).fma(d0.mul(e), FloatVector.fromArray(F, c, at + ROWS)).intoArray(c, at + ROWS);
            c11.add(z).fma(d1.mul(e), FloatVector.fromArray(F, c, at + ROWS + LANES)).intoArray(c, at + ROWS + LANES);
            e = IntVector.broadcast(I, x[s + 2]).reinterpretAsFloats();
            z = IntVector.broadcast(I, x[s + 10]).reinterpretAsFloats();
            c20.add(z).fma(d0.mul(e), FloatVector.fromArray(F, c, at + 2 * ROWS)).intoArray(c, at + 2 * ROWS);
            c21.add(z).fma(d1.mul(e), FloatVector.fromArray(F, c, at + 2 * ROWS + LANES)).intoArray(c, at + 2 * ROWS + LANES);
            e = IntVector.broadcast(I, x[s + 3]).reinterpretAsFloats();
            z = IntVector.broadcast(I, x[s + 11]).reinterpretAsFloats();
            c30.add(z).fma(d0.mul(e), FloatVector.fromArray(F, c, at + 3 * ROWS)).intoArray(c, at + 3 * ROWS);
            c31.add(z).fma(d1.mul(e), FloatVector.fromArray(F, c, at + 3 * ROWS + LANES)).intoArray(c, at + 3 * ROWS + LANES);
            e = IntVector.broadcast(I, x[s + 4]).reinterpretAsFloats();
            z = IntVector.broadcast(I, x[s + 12]).reinterpretAsFloats();
            c40.add(z).fma(d0.mul(e), FloatVector.fromArray(F, c, at + 4 * ROWS)).intoArray(c, at + 4 * ROWS);
            c41.add(z).fma(d1.mul(e), FloatVector.fromArray(F, c, at + 4 * ROWS + LANES)).intoArray(c, at + 4 * ROWS + LANES);
            e = IntVector.broadcast(I, x[s + 5]).reinterpretAsFloats();
            z = IntVector.broadcast(I, x[s + 13]).reinterpretAsFloats();
            c50.add(z).fma(d0.mul(e), FloatVector.fromArray(F, c, at + 5 * ROWS)).intoArray(c, at + 5 * ROWS);
            c51.fma(d1.mul(e), FloatVector.fromArray(F, c, at + 5 * ROWS + LANES)).intoArray(c, at + 5 * ROWS + LANES);
            e = IntVector.broadcast(I, x[s + 6]).reinterpretAsFloats();
            c60.fma(d0.mul(e), FloatVector.fromArray(F, c, at + 6 * ROWS)).intoArray(c, at + 6 * ROWS);
            c61.fma(d1.mul(e), FloatVector.fromArray(F, c, at + 6 * ROWS + LANES)).intoArray(c, at + 6 * ROWS + LANES);
            e = IntVector.broadcast(I, x[s + 7]).reinterpretAsFloats();
            c70.fma(d0.mul(e), FloatVector.fromArray(F, c, at + 7 * ROWS)).intoArray(c, at + 7 * ROWS);
            c71.fma(d1.mul(e), FloatVector.fromArray(F, c, at + 7 * ROWS + LANES)).intoArray(c, at + 7 * ROWS + LANES);
        }
    }
}
