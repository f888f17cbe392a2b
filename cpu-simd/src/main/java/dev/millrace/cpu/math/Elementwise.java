package dev.millrace.cpu.math;

import dev.millrace.core.graph.Act;
import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/** Elementwise functions over ranges of float arrays; y may be x. */
public final class Elementwise {
    private Elementwise() {}

    /** y[yAt + i] = act(x[xAt + i]) for i in [0, n). */
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
            case GELU -> gelu(x, xAt, y, yAt, n);
            case GELU_TANH -> geluTanh(x, xAt, y, yAt, n);
            case RELU -> relu(x, xAt, y, yAt, n);
            case SILU -> silu(x, xAt, y, yAt, n);
            case TANH -> tanh(x, xAt, y, yAt, n);
        }
    }

    /** y[yAt + i] = act(gate[gateAt + i]) * up[upAt + i]. */
    public static void gate(Act act, float[] gate, int gateAt, float[] up, int upAt, float[] y, int yAt, int n) {
        if (act == Act.SILU) {
            siluGate(gate, gateAt, up, upAt, y, yAt, n);
        } else {
            int strip = 16 * Lanes.COUNT;
            for (int i = 0; i < n; i += strip) {
                gateStrip(act, gate, gateAt + i, up, upAt + i, y, yAt + i, Math.min(strip, n - i));
            }
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
        int i = 0;
        for (; i <= n - Lanes.COUNT; i += Lanes.COUNT) {
            FloatVector.fromArray(Lanes.F, x, at + i).mul(factor).intoArray(x, at + i);
        }
        for (; i < n; i++) {
            x[at + i] *= factor;
        }
    }

    private static void gateStrip(
            Act act, float[] gate, int gateAt, float[] up, int upAt, float[] y, int yAt, int n) {
        if (y == up) {
            throw new IllegalArgumentException("the output of a gate may replace the gate, not up");
        }
        activate(act, gate, gateAt, y, yAt, n);
        int i = 0;
        for (; i <= n - Lanes.COUNT; i += Lanes.COUNT) {
            FloatVector.fromArray(Lanes.F, y, yAt + i)
                    .mul(FloatVector.fromArray(Lanes.F, up, upAt + i))
                    .intoArray(y, yAt + i);
        }
        for (; i < n; i++) {
            y[yAt + i] *= up[upAt + i];
        }
    }

    private static void siluGate(float[] gate, int gateAt, float[] up, int upAt, float[] y, int yAt, int n) {
        int i = 0;
        for (; i <= n - Lanes.COUNT; i += Lanes.COUNT) {
            VectorMath.silu(FloatVector.fromArray(Lanes.F, gate, gateAt + i))
                    .mul(FloatVector.fromArray(Lanes.F, up, upAt + i))
                    .intoArray(y, yAt + i);
        }
        if (i < n) {
            VectorMask<Float> tail = Lanes.F.indexInRange(i, n);
            VectorMath.silu(FloatVector.fromArray(Lanes.F, gate, gateAt + i, tail))
                    .mul(FloatVector.fromArray(Lanes.F, up, upAt + i, tail))
                    .intoArray(y, yAt + i, tail);
        }
    }

    private static void gelu(float[] x, int xAt, float[] y, int yAt, int n) {
        int i = 0;
        for (; i <= n - Lanes.COUNT; i += Lanes.COUNT) {
            VectorMath.gelu(FloatVector.fromArray(Lanes.F, x, xAt + i)).intoArray(y, yAt + i);
        }
        if (i < n) {
            VectorMask<Float> tail = Lanes.F.indexInRange(i, n);
            VectorMath.gelu(FloatVector.fromArray(Lanes.F, x, xAt + i, tail)).intoArray(y, yAt + i, tail);
        }
    }

    private static void geluTanh(float[] x, int xAt, float[] y, int yAt, int n) {
        int i = 0;
        for (; i <= n - Lanes.COUNT; i += Lanes.COUNT) {
            VectorMath.geluTanh(FloatVector.fromArray(Lanes.F, x, xAt + i)).intoArray(y, yAt + i);
        }
        if (i < n) {
            VectorMask<Float> tail = Lanes.F.indexInRange(i, n);
            VectorMath.geluTanh(FloatVector.fromArray(Lanes.F, x, xAt + i, tail)).intoArray(y, yAt + i, tail);
        }
    }

    private static void silu(float[] x, int xAt, float[] y, int yAt, int n) {
        int i = 0;
        for (; i <= n - Lanes.COUNT; i += Lanes.COUNT) {
            VectorMath.silu(FloatVector.fromArray(Lanes.F, x, xAt + i)).intoArray(y, yAt + i);
        }
        if (i < n) {
            VectorMask<Float> tail = Lanes.F.indexInRange(i, n);
            VectorMath.silu(FloatVector.fromArray(Lanes.F, x, xAt + i, tail)).intoArray(y, yAt + i, tail);
        }
    }

    private static void tanh(float[] x, int xAt, float[] y, int yAt, int n) {
        int i = 0;
        for (; i <= n - Lanes.COUNT; i += Lanes.COUNT) {
            VectorMath.tanh(FloatVector.fromArray(Lanes.F, x, xAt + i)).intoArray(y, yAt + i);
        }
        if (i < n) {
            VectorMask<Float> tail = Lanes.F.indexInRange(i, n);
            VectorMath.tanh(FloatVector.fromArray(Lanes.F, x, xAt + i, tail)).intoArray(y, yAt + i, tail);
        }
    }

    private static void relu(float[] x, int xAt, float[] y, int yAt, int n) {
        for (int i = 0; i < n; i++) {
            y[yAt + i] = Math.max(x[xAt + i], 0f);
        }
    }
}
