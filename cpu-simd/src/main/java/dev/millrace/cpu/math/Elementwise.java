package dev.millrace.cpu.math;

import dev.millrace.core.graph.Act;
import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.FloatVector;

/** Elementwise functions over ranges of float arrays; y may be x. */
public final class Elementwise {
    /** 2 sqrt(2 / pi). */
    private static final float TANH_FORM = 1.5957691216f;

    private Elementwise() {}

    /**
     * y[yAt + i] = act(x[xAt + i]) for i in [0, n), and for what follows up to whole vectors: both arrays have room for
     * that.
     */
    public static void activate(Act act, float[] x, int xAt, float[] y, int yAt, int n) {
        if (PlainMath.COLD_ACTS[act.ordinal()].cold(PlainMath.ACT_OPERATIONS * n)) {
            PlainMath.activate(act, x, xAt, y, yAt, n);
        } else {
            activateVectors(act, x, xAt, y, yAt, n);
        }
    }

    /** {@link #activate} by vectors, compiled or not. */
    static void activateVectors(Act act, float[] x, int xAt, float[] y, int yAt, int n) {
        switch (act) {
            case GELU -> VectorMath.gelu(x, xAt, y, yAt, n);
            case GELU_TANH -> VectorMath.sigmoidTimes(x, xAt, y, yAt, n, TANH_FORM, TANH_FORM * 0.044715f);
            case RELU -> relu(x, xAt, y, yAt, n);
            case SILU -> VectorMath.sigmoidTimes(x, xAt, y, yAt, n, 1, 0);
            case TANH -> VectorMath.tanh(x, xAt, y, yAt, n);
        }
    }

    /**
     * y[yAt + i] = act(gate[gateAt + i]) * up[upAt + i], with the same rest as {@link #activate}.
     *
     * @param y may be the gate; not up
     */
    public static void gate(Act act, float[] gate, int gateAt, float[] up, int upAt, float[] y, int yAt, int n) {
        if (y == up) {
            throw new IllegalArgumentException("the output of a gate may replace the gate, not up");
        }
        int strip = 64 * Lanes.COUNT; // stays in the first-level cache
        for (int i = 0; i < n; i += strip) {
            int count = Math.min(strip, n - i);
            activate(act, gate, gateAt + i, y, yAt + i, count);
            multiply(y, yAt + i, up, upAt + i, count);
        }
    }

    /** y[yAt + i] = a[aAt + i] + b[bAt + i]. */
    public static void add(float[] a, int aAt, float[] b, int bAt, float[] y, int yAt, int n) {
        int i = 0;
        for (; i <= n - Lanes.COUNT; i += Lanes.COUNT) {
            FloatVector.fromArray(Lanes.F, a, aAt + i)
                    .add(FloatVector.fromArray(Lanes.F, b, bAt + i))
                    .intoArray(y, yAt + i);
        }
        for (; i < n; i++) {
            y[yAt + i] = a[aAt + i] + b[bAt + i];
        }
    }

    /** x[at + i] = x[at + i] * factor. */
    public static void scale(float[] x, int at, int n, float factor) {
        scale(x, at, x, at, n, factor);
    }

    /** y[yAt + i] = x[xAt + i] * factor; y may be x. */
    public static void scale(float[] x, int xAt, float[] y, int yAt, int n, float factor) {
        int i = 0;
        for (; i <= n - Lanes.COUNT; i += Lanes.COUNT) {
            FloatVector.fromArray(Lanes.F, x, xAt + i).mul(factor).intoArray(y, yAt + i);
        }
        for (; i < n; i++) {
            y[yAt + i] = x[xAt + i] * factor;
        }
    }

    private static void multiply(float[] y, int yAt, float[] by, int byAt, int n) {
        for (int i = 0; i < n; i += Lanes.COUNT) {
            FloatVector.fromArray(Lanes.F, y, yAt + i)
                    .mul(FloatVector.fromArray(Lanes.F, by, byAt + i))
                    .intoArray(y, yAt + i);
        }
    }

    private static void relu(float[] x, int xAt, float[] y, int yAt, int n) {
        for (int i = 0; i < n; i++) {
            y[yAt + i] = Math.max(x[xAt + i], 0f);
        }
    }
}
