package dev.millrace.cpu.math;

import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Normalization of one group of {@code n} floats; y may be x. Sums run in 4 x {@link Lanes#COUNT} partial sums, so the
 * rounding of a mean is about n / (4 * COUNT) ULP at most.
 *
 * <p>Errors against StrictMath in double, for any n up to 8192, as the tests measure them: less than 8 ULP of the terms that are
 * added up. Of an RMS norm without a bias, a product, that is 8 ULP of the result; with one, of |product| + |bias|; of a layer
 * norm, of |gain| (|x| + mean |x|) / deviation + |bias|: where x is near the mean, what is left of the difference has no
 * more digits than the mean.
 */
public final class Norms {
    private Norms() {}

    /** y = x / sqrt(mean(x^2) + epsilon) * gain (+ bias); bias may be null. */
    public static void rms(
            float[] x, int xAt, float[] y, int yAt, int n, float[] gain, float[] bias, float epsilon) {
        if (PlainMath.COLD_NORMS.cold(n)) {
            PlainMath.normalize(x, xAt, y, yAt, n, gain, bias, epsilon, 0f);
        } else {
            rmsVectors(x, xAt, y, yAt, n, gain, bias, epsilon);
        }
    }

    /** {@link #rms} by vectors, compiled or not. */
    static void rmsVectors(
            float[] x, int xAt, float[] y, int yAt, int n, float[] gain, float[] bias, float epsilon) {
        float scale = (float) (1 / Math.sqrt(sumOfSquares(x, xAt, n, 0f) / n + epsilon));
        write(x, xAt, y, yAt, n, gain, bias, 0f, scale);
    }

    /** y = (x - mean) / sqrt(variance + epsilon) * gain + bias; bias may be null. */
    public static void layer(
            float[] x, int xAt, float[] y, int yAt, int n, float[] gain, float[] bias, float epsilon) {
        if (PlainMath.COLD_NORMS.cold(n)) {
            PlainMath.normalize(x, xAt, y, yAt, n, gain, bias, epsilon, PlainMath.mean(x, xAt, n));
        } else {
            layerVectors(x, xAt, y, yAt, n, gain, bias, epsilon);
        }
    }

    /** {@link #layer} by vectors, compiled or not. */
    static void layerVectors(
            float[] x, int xAt, float[] y, int yAt, int n, float[] gain, float[] bias, float epsilon) {
        float mean = sum(x, xAt, n) / n;
        float scale = (float) (1 / Math.sqrt(sumOfSquares(x, xAt, n, mean) / n + epsilon));
        write(x, xAt, y, yAt, n, gain, bias, mean, scale);
    }

    private static float sum(float[] x, int at, int n) {
        FloatVector a = FloatVector.zero(Lanes.F);
        FloatVector b = a;
        FloatVector c = a;
        FloatVector d = a;
        int i = 0;
        for (; i <= n - 4 * Lanes.COUNT; i += 4 * Lanes.COUNT) {
            a = a.add(FloatVector.fromArray(Lanes.F, x, at + i));
            b = b.add(FloatVector.fromArray(Lanes.F, x, at + i + Lanes.COUNT));
            c = c.add(FloatVector.fromArray(Lanes.F, x, at + i + 2 * Lanes.COUNT));
            d = d.add(FloatVector.fromArray(Lanes.F, x, at + i + 3 * Lanes.COUNT));
        }
        float sum = a.add(b).add(c.add(d)).reduceLanes(VectorOperators.ADD);
        for (; i < n; i++) {
            sum += x[at + i];
        }
        return sum;
    }

    private static float sumOfSquares(float[] x, int at, int n, float mean) {
        FloatVector a = FloatVector.zero(Lanes.F);
        FloatVector b = a;
        FloatVector c = a;
        FloatVector d = a;
        int i = 0;
        for (; i <= n - 4 * Lanes.COUNT; i += 4 * Lanes.COUNT) {
            FloatVector p = FloatVector.fromArray(Lanes.F, x, at + i).sub(mean);
            FloatVector q = FloatVector.fromArray(Lanes.F, x, at + i + Lanes.COUNT).sub(mean);
            FloatVector r = FloatVector.fromArray(Lanes.F, x, at + i + 2 * Lanes.COUNT).sub(mean);
            FloatVector s = FloatVector.fromArray(Lanes.F, x, at + i + 3 * Lanes.COUNT).sub(mean);
            a = p.fma(p, a);
            b = q.fma(q, b);
            c = r.fma(r, c);
            d = s.fma(s, d);
        }
        float sum = a.add(b).add(c.add(d)).reduceLanes(VectorOperators.ADD);
        for (; i < n; i++) {
            float p = x[at + i] - mean;
            sum += p * p;
        }
        return sum;
    }

    private static void write(
            float[] x, int xAt, float[] y, int yAt, int n, float[] gain, float[] bias, float mean, float scale) {
        int i = 0;
        if (bias == null) {
            for (; i <= n - Lanes.COUNT; i += Lanes.COUNT) {
                FloatVector.fromArray(Lanes.F, x, xAt + i)
                        .sub(mean)
                        .mul(scale)
                        .mul(FloatVector.fromArray(Lanes.F, gain, i))
                        .intoArray(y, yAt + i);
            }
        } else {
            for (; i <= n - Lanes.COUNT; i += Lanes.COUNT) {
                FloatVector.fromArray(Lanes.F, x, xAt + i)
                        .sub(mean)
                        .mul(scale)
                        .fma(FloatVector.fromArray(Lanes.F, gain, i), FloatVector.fromArray(Lanes.F, bias, i))
                        .intoArray(y, yAt + i);
            }
        }
        for (; i < n; i++) {
            float normal = (x[xAt + i] - mean) * scale;
            y[yAt + i] = bias == null ? normal * gain[i] : Math.fma(normal, gain[i], bias[i]);
        }
    }
}
