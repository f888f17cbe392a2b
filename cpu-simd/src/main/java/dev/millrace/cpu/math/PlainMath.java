package dev.millrace.cpu.math;

import dev.millrace.core.graph.Act;
import dev.millrace.core.reference.Erf;
import dev.millrace.cpu.ColdStart;
import java.util.Arrays;

/**
 * Activations and norms in plain loops, for kernels that are not compiled yet ({@link ColdStart}). They compute in double,
 * so that their results differ from the kernels' by no more than the kernels' own error.
 */
final class PlainMath {
    /** An activation takes as long as so many multiply-adds. */
    static final long ACT_OPERATIONS = 16;

    private static final int N = 1024;
    private static final int CALLS = 16;
    /** Of one call: twenty times what a compiled loop takes. */
    private static final long NANOS = 20_000;

    static final ColdStart[] COLD_ACTS = Arrays.stream(Act.values())
            .map(act -> new ColdStart(NANOS * CALLS, () -> warmUp(act)))
            .toArray(ColdStart[]::new);

    static final ColdStart COLD_NORMS = new ColdStart(NANOS * CALLS, PlainMath::warmUpNorms);

    private PlainMath() {}

    static void activate(Act act, float[] x, int xAt, float[] y, int yAt, int n) {
        for (int i = 0; i < n; i++) {
            y[yAt + i] = (float) activated(act, x[xAt + i]);
        }
    }

    private static double activated(Act act, double x) {
        return switch (act) {
            case GELU -> 0.5 * x * (1 + Erf.erf(x * Math.sqrt(0.5)));
            case GELU_TANH -> x / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
            case RELU -> Math.max(x, 0);
            case SILU -> x / (1 + Math.exp(-x));
            case TANH -> Math.tanh(x);
        };
    }

    static float mean(float[] x, int at, int n) {
        double sum = 0;
        for (int i = 0; i < n; i++) {
            sum += x[at + i];
        }
        return (float) (sum / n);
    }

    /** y = (x - mean) / sqrt(mean((x - mean)^2) + epsilon) * gain (+ bias); bias may be null. */
    static void normalize(
            float[] x, int xAt, float[] y, int yAt, int n, float[] gain, float[] bias, float epsilon, float mean) {
        double squares = 0;
        for (int i = 0; i < n; i++) {
            double d = x[xAt + i] - mean;
            squares += d * d;
        }
        float scale = (float) (1 / Math.sqrt(squares / n + epsilon));
        for (int i = 0; i < n; i++) {
            float normal = (x[xAt + i] - mean) * scale;
            y[yAt + i] = bias == null ? normal * gain[i] : Math.fma(normal, gain[i], bias[i]);
        }
    }

    private static void warmUp(Act act) {
        float[] x = new float[N];
        for (int i = 0; i < CALLS; i++) {
            Elementwise.activateVectors(act, x, 0, x, 0, N);
        }
    }

    private static void warmUpNorms() {
        float[] x = new float[N];
        for (int i = 0; i < CALLS; i++) {
            Norms.rmsVectors(x, 0, x, 0, N, x, null, 1f);
            Norms.layerVectors(x, 0, x, 0, N, x, x, 1f);
        }
    }
}
