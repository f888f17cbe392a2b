package dev.millrace.core.graph;

import java.util.List;

/**
 * The rotation frequencies of {@link Op.Rope}: theta^(-2i/dims), changed by a context-extension rule. Rules follow
 * Hugging Face transformers' {@code modeling_rope_utils}.
 */
public record RopeFrequencies(double theta, Scaling scaling) {

    /** A rule that changes the frequencies so that a model sees further than it was trained for. */
    public sealed interface Scaling {}

    /** No change. */
    public record Plain() implements Scaling {}

    /** All frequencies divided by {@code factor} (Chen et al., 2023, position interpolation). */
    public record Linear(double factor) implements Scaling {}

    /** NTK-aware: theta grows with the sequence once it is longer than {@code originalPositions}. */
    public record Dynamic(double factor, int originalPositions) implements Scaling {}

    /** Llama 3.1's rule: low frequencies divided by {@code factor}, high ones kept, a ramp between. */
    public record Llama3(double factor, double lowFreqFactor, double highFreqFactor, int originalPositions)
            implements Scaling {}

    /**
     * YaRN (Peng et al., 2023).
     *
     * @param attentionFactor multiplies cos and sin
     */
    public record Yarn(
            double factor,
            int originalPositions,
            double betaFast,
            double betaSlow,
            double attentionFactor,
            boolean truncate)
            implements Scaling {}

    /** Divides each frequency by a factor of the checkpoint's own, as GGUF's {@code rope_freqs} tensor does. */
    public record Factors(List<Float> factors) implements Scaling {
        public Factors {
            factors = List.copyOf(factors);
        }
    }

    /** Whether the frequencies depend on the length of the sequence. */
    public boolean dependsOnLength() {
        return scaling instanceof Dynamic;
    }

    /** What cos and sin are multiplied by; 1 except for YaRN. */
    public float magnitude() {
        return scaling instanceof Yarn y ? (float) y.attentionFactor() : 1f;
    }

    /**
     * Radians per position for each pair of {@code dims} rotated elements.
     *
     * @param length positions in the sequence so far, the current ones included; only {@link Dynamic} looks at it
     * @return dims / 2 frequencies
     */
    public double[] inverse(int dims, long length) {
        int pairs = dims / 2;
        double base = theta;
        if (scaling instanceof Dynamic d && length > d.originalPositions()) {
            base = theta * Math.pow(d.factor() * length / d.originalPositions() - (d.factor() - 1), dims / (dims - 2.0));
        }
        double[] f = new double[pairs];
        for (int i = 0; i < pairs; i++) {
            f[i] = scaled(Math.pow(base, -2.0 * i / dims), i, dims);
        }
        return f;
    }

    private double scaled(double f, int i, int dims) {
        return switch (scaling) {
            case Plain() -> f;
            case Dynamic d -> f;
            case Linear(double factor) -> f / factor;
            case Factors(List<Float> factors) -> f / factors.get(i);
            case Llama3 s -> {
                double wavelength = 2 * Math.PI / f;
                double low = s.originalPositions() / s.lowFreqFactor();
                double high = s.originalPositions() / s.highFreqFactor();
                if (wavelength > low) {
                    yield f / s.factor();
                }
                if (wavelength < high) {
                    yield f;
                }
                double smooth = (s.originalPositions() / wavelength - s.lowFreqFactor())
                        / (s.highFreqFactor() - s.lowFreqFactor());
                yield (1 - smooth) * f / s.factor() + smooth * f;
            }
            case Yarn y -> {
                double low = correction(y.betaFast(), dims, y.originalPositions());
                double high = correction(y.betaSlow(), dims, y.originalPositions());
                if (y.truncate()) {
                    low = Math.floor(low);
                    high = Math.ceil(high);
                }
                low = Math.max(low, 0);
                high = Math.min(high, dims - 1);
                if (low == high) {
                    high += 0.001;
                }
                double ramp = Math.clamp((i - low) / (high - low), 0, 1);
                yield f / y.factor() * ramp + f * (1 - ramp);
            }
        };
    }

    private double correction(double rotations, int dims, int positions) {
        return dims * Math.log(positions / (rotations * 2 * Math.PI)) / (2 * Math.log(theta));
    }
}
