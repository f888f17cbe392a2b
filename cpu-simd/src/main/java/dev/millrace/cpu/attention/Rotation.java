package dev.millrace.cpu.attention;

import dev.millrace.core.graph.Op;
import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.FloatVector;

/**
 * The cosines and sines of {@link Op.Rope} for every token of a chunk, computed once and used by all layers with the
 * same rotation: [tokens, rotaryDim / 2].
 */
public final class Rotation {
    private final Op.Rope rope;
    private final int pairs;
    private double[] frequencies;
    private long length = -1;
    private float[] cos = new float[0];
    private float[] sin = new float[0];

    public Rotation(Op.Rope rope) {
        this.rope = rope;
        this.pairs = rope.rotaryDim() / 2;
        this.frequencies = rope.frequencies().inverse(rope.rotaryDim(), 1);
    }

    public Op.Rope rope() {
        return rope;
    }

    /** Makes room for {@code tokens} rows. */
    public void ensure(int tokens) {
        if (cos.length < tokens * pairs) {
            cos = new float[tokens * pairs];
            sin = new float[tokens * pairs];
        }
    }

    public long bytes() {
        return 4L * (cos.length + sin.length);
    }

    /** Sets the frequencies for a sequence of {@code positions} tokens; only some rules look at it. By one worker. */
    public void length(long positions) {
        if (rope.frequencies().dependsOnLength() && positions != length) {
            frequencies = rope.frequencies().inverse(rope.rotaryDim(), positions);
            length = positions;
        }
    }

    /** Computes row {@code token}, which is at {@code position} of its sequence. */
    public void prepare(int token, int position) {
        float magnitude = rope.frequencies().magnitude();
        for (int i = 0; i < pairs; i++) {
            double angle = position * frequencies[i];
            cos[token * pairs + i] = (float) (Math.cos(angle) * magnitude);
            sin[token * pairs + i] = (float) (Math.sin(angle) * magnitude);
        }
    }

    /** Rotates one head of {@code token}: y[yAt ..] from x[xAt ..], headDim floats; y may be x. */
    public void rotate(int token, float[] x, int xAt, float[] y, int yAt) {
        int at = token * pairs;
        if (x != y || xAt != yAt) {
            System.arraycopy(x, xAt + 2 * pairs, y, yAt + 2 * pairs, rope.headDim() - 2 * pairs);
        }
        if (rope.interleaved()) {
            for (int i = 0; i < pairs; i++) {
                float a = x[xAt + 2 * i];
                float b = x[xAt + 2 * i + 1];
                y[yAt + 2 * i] = a * cos[at + i] - b * sin[at + i];
                y[yAt + 2 * i + 1] = b * cos[at + i] + a * sin[at + i];
            }
        } else {
            halves(x, xAt, y, yAt, at);
        }
    }

    private void halves(float[] x, int xAt, float[] y, int yAt, int at) {
        int i = 0;
        for (; i <= pairs - Lanes.COUNT; i += Lanes.COUNT) {
            FloatVector a = FloatVector.fromArray(Lanes.F, x, xAt + i);
            FloatVector b = FloatVector.fromArray(Lanes.F, x, xAt + pairs + i);
            FloatVector c = FloatVector.fromArray(Lanes.F, cos, at + i);
            FloatVector s = FloatVector.fromArray(Lanes.F, sin, at + i);
            a.mul(c).sub(b.mul(s)).intoArray(y, yAt + i);
            b.mul(c).add(a.mul(s)).intoArray(y, yAt + pairs + i);
        }
        for (; i < pairs; i++) {
            float a = x[xAt + i];
            float b = x[xAt + pairs + i];
            y[yAt + i] = a * cos[at + i] - b * sin[at + i];
            y[yAt + pairs + i] = b * cos[at + i] + a * sin[at + i];
        }
    }
}
