package dev.millrace.cpu.math;

import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Elementary functions on vectors of floats, as polynomials. Errors are in units in the last place (ULP) of the float
 * result against {@link StrictMath} in double; the tests measure them over every range named here.
 *
 * <p>Methods are short so that the compiler inlines them into the loops that call them; a vector that crosses a call
 * that is not inlined would be allocated.
 */
public final class VectorMath {
    private static final float LOG2E = 1.44269504f;
    /** ln 2 in two parts; products of the first with small whole numbers are exact. */
    private static final float LN2_HIGH = 0.693359375f;

    private static final float LN2_LOW = -2.12194440e-4f;
    /** Adding 1.5 * 2^23 rounds a small float to a whole number and leaves it in the low bits of the mantissa. */
    private static final float ROUND = 12582912f;

    private static final float EXP_MIN = -87.33f;
    private static final float EXP_MAX = 88.72283f;
    private static final float SQRT_2_OVER_PI = 0.7978845608f;

    private VectorMath() {}

    /**
     * e^x, at most 2 ULP off for x in [-87.33, 88.72]; 0 below, infinity above. The polynomial is that of Cephes'
     * {@code expf} (Moshier, 1992).
     */
    public static FloatVector exp(FloatVector x) {
        return expUpTo88(x).blend(Float.POSITIVE_INFINITY, x.compare(VectorOperators.GT, EXP_MAX));
    }

    /** e^x for x up to 88.72, as {@link #exp} without its test for infinity; for softmax, whose x are at most 0. */
    public static FloatVector expUpTo88(FloatVector x) {
        FloatVector t = x.fma(all(LOG2E), all(ROUND));
        FloatVector n = t.sub(ROUND);
        FloatVector r = n.fma(all(-LN2_LOW), n.fma(all(-LN2_HIGH), x));
        FloatVector p = r.fma(all(1.9875691500e-4f), all(1.3981999507e-3f));
        p = p.fma(r, all(8.3334519073e-3f));
        p = p.fma(r, all(4.1665795894e-2f));
        p = p.fma(r, all(1.6666665459e-1f));
        p = p.fma(r, all(5.0000001201e-1f));
        p = p.fma(r.mul(r), r.add(1f));
        FloatVector scaled = p.reinterpretAsInts()
                .add(t.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23))
                .reinterpretAsFloats();
        return scaled.blend(0f, x.compare(VectorOperators.LT, EXP_MIN));
    }

    /** tanh x, at most 4 ULP off. Below 0.625 the polynomial of Cephes' {@code tanhf}, above 1 - 2 / (e^2x + 1). */
    public static FloatVector tanh(FloatVector x) {
        FloatVector z = x.mul(x);
        FloatVector p = z.fma(all(-5.70498872745e-3f), all(2.06390887954e-2f));
        p = p.fma(z, all(-5.37397155531e-2f));
        p = p.fma(z, all(1.33314422036e-1f));
        p = p.fma(z, all(-3.33332819422e-1f));
        FloatVector small = p.mul(z).fma(x, x);
        FloatVector a = x.abs();
        FloatVector large = all(1f).sub(all(2f).div(exp(a.add(a)).add(1f)));
        FloatVector signed = large.lanewise(VectorOperators.NEG, x.compare(VectorOperators.LT, 0f));
        return small.blend(signed, a.compare(VectorOperators.GE, 0.625f));
    }

    /** x * sigmoid(x). The error is at most 4 ULP of the result for x above -87. */
    public static FloatVector silu(FloatVector x) {
        return x.div(exp(x.neg()).add(1f));
    }

    /** GELU in its tanh form, as x * sigmoid(2 u): error at most 2 ULP of x; of the result, 4 ULP for x above -1. */
    public static FloatVector geluTanh(FloatVector x) {
        float c = -2 * SQRT_2_OVER_PI;
        FloatVector u = x.mul(x).fma(all(c * 0.044715f), all(c)).mul(x);
        return x.div(exp(u).add(1f));
    }

    /**
     * x * Phi(x) with the error function: at most 8 ULP off above -5, and 4 ULP of x anywhere. erfc(z) e^(z^2)
     * is t * q(t) with t = 1 / (1 + 0.4 z) and q a polynomial of degree 8 with a relative error of 8.8e-8 (fitted for
     * this method by iteratively reweighted least squares).
     */
    public static FloatVector gelu(FloatVector x) {
        FloatVector a = x.abs();
        FloatVector z = a.mul(0.70710678f);
        FloatVector t = all(1f).div(z.fma(all(0.4f), all(1f)));
        FloatVector q = t.fma(all(0.04596844f), all(-0.16306037f));
        q = q.fma(t, all(0.13050033f));
        q = q.fma(t, all(0.03543128f));
        q = q.fma(t, all(0.115471102f));
        q = q.fma(t, all(0.17847903f));
        q = q.fma(t, all(0.20561065f));
        q = q.fma(t, all(0.22593673f));
        q = q.fma(t, all(0.2256629f));
        FloatVector square = a.mul(a).mul(-0.5f);
        FloatVector lost = a.fma(a.mul(-0.5f), square.neg()); // what rounding took from the square
        FloatVector e = expUpTo88(square);
        e = e.fma(lost, e);
        FloatVector tail = q.mul(t).mul(e).mul(a).mul(0.5f);
        return x.blend(0f, x.compare(VectorOperators.LT, 0f)).sub(tail);
    }

    static FloatVector all(float value) {
        return FloatVector.broadcast(Lanes.F, value);
    }
}
