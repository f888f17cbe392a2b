package dev.millrace.cpu.math;

import static jdk.incubator.vector.VectorOperators.GE;
import static jdk.incubator.vector.VectorOperators.GT;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LT;
import static jdk.incubator.vector.VectorOperators.NEG;

import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Elementary functions on arrays of floats, as polynomials, {@code n} elements rounded up to whole vectors: both arrays
 * have room for those. Errors are in units in the last place (ULP) of the float result against {@link StrictMath} in
 * double; the tests measure them over every range named here.
 *
 * <p>Each function is one flat loop in which e^x is written out, and no method takes or returns a vector: the compiler
 * gives up inlining when the method that it compiles has grown large, and a vector that crosses a call is an object
 * then. With e^x in a method of its own, and its constants in another, softmax allocated 192 bytes a vector in one of
 * two starts of the JVM.
 */
public final class VectorMath {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final int L = Lanes.COUNT;

    private static final float LOG2E = 1.44269504f;
    /** ln 2 in two parts; products of the first with small whole numbers are exact. */
    private static final float LN2_HIGH = 0.693359375f;

    private static final float LN2_LOW = -2.12194440e-4f;
    /** Adding 1.5 * 2^23 rounds a small float to a whole number and leaves it in the low bits of the mantissa. */
    private static final float ROUND = 12582912f;

    /** The polynomial of Cephes' {@code expf} (Moshier, 1992), the highest power first. */
    private static final float E7 = 1.9875691500e-4f;

    private static final float E6 = 1.3981999507e-3f;
    private static final float E5 = 8.3334519073e-3f;
    private static final float E4 = 4.1665795894e-2f;
    private static final float E3 = 1.6666665459e-1f;
    private static final float E2 = 5.0000001201e-1f;

    private static final float EXP_MIN = -87.33f;
    private static final float EXP_MAX = 88.72283f;

    private VectorMath() {}

    /** y = tanh x, at most 4 ULP off. Below 0.625 the polynomial of Cephes' {@code tanhf}, above 1 - 2 / (e^2x + 1). */
    static void tanh(float[] x, int xAt, float[] y, int yAt, int n) {
        for (int i = 0; i < n; i += L) {
            FloatVector v = FloatVector.fromArray(F, x, xAt + i);
            FloatVector z = v.mul(v);
            FloatVector small = z.fma(FloatVector.broadcast(F, -5.70498872745e-3f), FloatVector.broadcast(F, 2.06390887954e-2f))
                    .fma(z, FloatVector.broadcast(F, -5.37397155531e-2f))
                    .fma(z, FloatVector.broadcast(F, 1.33314422036e-1f))
                    .fma(z, FloatVector.broadcast(F, -3.33332819422e-1f))
                    .mul(z)
                    .fma(v, v);
            FloatVector a = v.abs();
            FloatVector u = a.add(a);
            FloatVector t = u.fma(FloatVector.broadcast(F, LOG2E), FloatVector.broadcast(F, ROUND));
            FloatVector r = t.sub(ROUND).fma(FloatVector.broadcast(F, -LN2_HIGH), u);
            r = t.sub(ROUND).fma(FloatVector.broadcast(F, -LN2_LOW), r);
            FloatVector e = r.fma(FloatVector.broadcast(F, E7), FloatVector.broadcast(F, E6))
                    .fma(r, FloatVector.broadcast(F, E5))
                    .fma(r, FloatVector.broadcast(F, E4))
                    .fma(r, FloatVector.broadcast(F, E3))
                    .fma(r, FloatVector.broadcast(F, E2))
                    .fma(r.mul(r), r.add(1f))
                    .reinterpretAsInts()
                    .add(t.reinterpretAsInts().lanewise(LSHL, 23))
                    .reinterpretAsFloats()
                    .blend(Float.POSITIVE_INFINITY, u.compare(GT, EXP_MAX));
            FloatVector large = FloatVector.broadcast(F, 1f).sub(FloatVector.broadcast(F, 2f).div(e.add(1f)));
            large = large.lanewise(NEG, v.compare(LT, 0f));
            small.blend(large, a.compare(GE, 0.625f)).intoArray(y, yAt + i);
        }
    }

    /**
     * {@code y = x / (1 + e^-u)}, u = linear * x + cubic * x^3. With linear 1 and cubic 0 this is SiLU, at most 4 ULP
     * off above -87; with 2 sqrt(2 / pi) and 0.044715 of that GELU in its tanh form, at most 2 ULP of x off, and 4 ULP of
     * the result above -1.
     */
    static void sigmoidTimes(float[] x, int xAt, float[] y, int yAt, int n, float linear, float cubic) {
        for (int i = 0; i < n; i += L) {
            FloatVector v = FloatVector.fromArray(F, x, xAt + i);
            FloatVector u = v.mul(-cubic).mul(v).fma(v, v.mul(-linear)); // v^3 first would overflow where cubic is 0
            FloatVector t = u.fma(FloatVector.broadcast(F, LOG2E), FloatVector.broadcast(F, ROUND));
            FloatVector r = t.sub(ROUND).fma(FloatVector.broadcast(F, -LN2_HIGH), u);
            r = t.sub(ROUND).fma(FloatVector.broadcast(F, -LN2_LOW), r);
            FloatVector e = r.fma(FloatVector.broadcast(F, E7), FloatVector.broadcast(F, E6))
                    .fma(r, FloatVector.broadcast(F, E5))
                    .fma(r, FloatVector.broadcast(F, E4))
                    .fma(r, FloatVector.broadcast(F, E3))
                    .fma(r, FloatVector.broadcast(F, E2))
                    .fma(r.mul(r), r.add(1f))
                    .reinterpretAsInts()
                    .add(t.reinterpretAsInts().lanewise(LSHL, 23))
                    .reinterpretAsFloats()
                    .blend(0f, u.compare(LT, EXP_MIN))
                    .blend(Float.POSITIVE_INFINITY, u.compare(GT, EXP_MAX));
            v.div(e.add(1f)).intoArray(y, yAt + i);
        }
    }

    /**
     * y = x * Phi(x) with the error function: at most 8 ULP off above -5, and 4 ULP of x anywhere. erfc(z) e^(z^2)
     * is t * q(t) with t = 1 / (1 + 0.4 z) and q a polynomial of degree 8 with a relative error of 8.8e-8 (fitted for
     * this method by iteratively reweighted least squares).
     */
    static void gelu(float[] x, int xAt, float[] y, int yAt, int n) {
        for (int i = 0; i < n; i += L) {
            FloatVector v = FloatVector.fromArray(F, x, xAt + i);
            FloatVector a = v.abs();
            FloatVector z = a.mul(0.70710678f);
            FloatVector one = FloatVector.broadcast(F, 1f);
            FloatVector t = one.div(z.fma(FloatVector.broadcast(F, 0.4f), one));
            FloatVector q = t.fma(FloatVector.broadcast(F, 0.04596844f), FloatVector.broadcast(F, -0.16306037f))
                    .fma(t, FloatVector.broadcast(F, 0.13050033f))
                    .fma(t, FloatVector.broadcast(F, 0.03543128f))
                    .fma(t, FloatVector.broadcast(F, 0.115471102f))
                    .fma(t, FloatVector.broadcast(F, 0.17847903f))
                    .fma(t, FloatVector.broadcast(F, 0.20561065f))
                    .fma(t, FloatVector.broadcast(F, 0.22593673f))
                    .fma(t, FloatVector.broadcast(F, 0.2256629f));
            FloatVector square = a.mul(a).mul(-0.5f);
            FloatVector lost = a.fma(a.mul(-0.5f), square.neg()); // what rounding took from the square
            FloatVector k = square.fma(FloatVector.broadcast(F, LOG2E), FloatVector.broadcast(F, ROUND));
            FloatVector r = k.sub(ROUND).fma(FloatVector.broadcast(F, -LN2_HIGH), square);
            r = k.sub(ROUND).fma(FloatVector.broadcast(F, -LN2_LOW), r);
            FloatVector e = r.fma(FloatVector.broadcast(F, E7), FloatVector.broadcast(F, E6))
                    .fma(r, FloatVector.broadcast(F, E5))
                    .fma(r, FloatVector.broadcast(F, E4))
                    .fma(r, FloatVector.broadcast(F, E3))
                    .fma(r, FloatVector.broadcast(F, E2))
                    .fma(r.mul(r), r.add(1f))
                    .reinterpretAsInts()
                    .add(k.reinterpretAsInts().lanewise(LSHL, 23))
                    .reinterpretAsFloats()
                    .blend(0f, square.compare(LT, EXP_MIN));
            FloatVector tail = q.mul(t).mul(e.fma(lost, e)).mul(a).mul(0.5f);
            v.blend(0f, v.compare(LT, 0f)).sub(tail).intoArray(y, yAt + i);
        }
    }
}
