package dev.millrace.cpu.step;

import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.Weights;
import dev.millrace.cpu.math.Norms;

/** {@link Op.Norm} with its weights at hand. */
public final class Normalizer {
    private final boolean layer;
    private final float[] gain;
    private final float[] bias;
    private final float epsilon;

    public Normalizer(Op.Norm norm, Weights weights) {
        this.layer = norm.kind() == Op.NormKind.LAYER;
        this.gain = weights.get(norm.weight()).floats();
        this.bias = norm.bias().map(b -> weights.get(b).floats()).orElse(null);
        this.epsilon = norm.epsilon();
    }

    /** Normalizes every group of {@code n} floats; y may be x. */
    public void apply(float[] x, int xAt, float[] y, int yAt, int n) {
        for (int g = 0; g < n; g += gain.length) {
            if (layer) {
                Norms.layer(x, xAt + g, y, yAt + g, gain.length, gain, bias, epsilon);
            } else {
                Norms.rms(x, xAt + g, y, yAt + g, gain.length, gain, bias, epsilon);
            }
        }
    }

    public long bytes() {
        return 4L * (gain.length + (bias == null ? 0 : bias.length));
    }
}
