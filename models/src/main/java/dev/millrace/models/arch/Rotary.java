package dev.millrace.models.arch;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.RopeFrequencies;
import dev.millrace.core.graph.RopeFrequencies.Dynamic;
import dev.millrace.core.graph.RopeFrequencies.Factors;
import dev.millrace.core.graph.RopeFrequencies.Linear;
import dev.millrace.core.graph.RopeFrequencies.Llama3;
import dev.millrace.core.graph.RopeFrequencies.Plain;
import dev.millrace.core.graph.RopeFrequencies.Scaling;
import dev.millrace.core.graph.RopeFrequencies.Yarn;
import java.util.List;

/**
 * Rotary position embedding as configurations describe it: {@code rope_parameters}, or {@code rope_theta} and {@code
 * rope_scaling} as they were written before. Defaults and precedence follow Hugging Face transformers.
 *
 * @param positions tokens of a sequence that the rule makes room for
 */
record Rotary(RopeFrequencies frequencies, int positions) {
    private static final double DEFAULT_THETA = 10000;

    /** @param headDim elements of a head, which are rotated in pairs */
    static Rotary read(Settings s, int headDim, int maxPositions) {
        Settings old = s.section("rope_scaling");
        Settings parameters = s.section("rope_parameters");
        Settings rule = old != null ? old : parameters;
        double theta = theta(s, DEFAULT_THETA);
        whole(s);
        if (rule == null) {
            return new Rotary(new RopeFrequencies(theta, new Plain()), maxPositions);
        }
        theta = theta(rule, theta);
        whole(rule);
        String type = rule.text("rope_type", null);
        type = type == null ? rule.text("type", "default") : type;
        rule.ignore("type");
        int original = rule.integer("original_max_position_embeddings", 1, maxPositions);
        original = s.integer("original_max_position_embeddings", 1, original);
        Scaling scaling =
                switch (type) {
                    case "default" -> new Plain();
                    case "linear" -> new Linear(factor(rule));
                    case "dynamic" -> new Dynamic(factor(rule), maxPositions);
                    case "llama3" -> llama3(rule, original);
                    case "yarn" -> yarn(rule, original, maxPositions);
                    // of Millrace's own GGUF reader: the divisors come as a tensor
                    case "factors" -> factors(rule, headDim / 2);
                    default -> throw rule.wrong(
                            rule.has("rope_type") ? "rope_type" : "type", "default, linear, dynamic, llama3 or yarn");
                };
        rule.finish("rope " + type);
        if (scaling instanceof Dynamic && headDim == 2) {
            throw new MillraceException(rule.file() + ": heads of 2 elements cannot be scaled dynamically");
        }
        return new Rotary(new RopeFrequencies(theta, scaling), positions(scaling, maxPositions));
    }

    private static double theta(Settings s, double otherwise) {
        double theta = s.number("rope_theta", otherwise);
        if (!(theta > 1)) {
            throw s.wrong("rope_theta", "a number above 1");
        }
        return theta;
    }

    private static Scaling factors(Settings rule, int pairs) {
        List<Float> factors = rule.floats("factors");
        if (factors.size() != pairs || factors.stream().anyMatch(f -> !(f > 0))) {
            throw rule.wrong("factors", pairs + " numbers above 0");
        }
        return new Factors(factors);
    }

    private static int positions(Scaling scaling, int maxPositions) {
        double scaled =
                switch (scaling) {
                    case Linear(double factor) -> factor * maxPositions;
                    case Dynamic d -> d.factor() * d.originalPositions();
                    case Yarn y -> y.factor() * y.originalPositions();
                    default -> maxPositions;
                };
        return (int) Math.clamp(Math.round(scaled), maxPositions, Integer.MAX_VALUE);
    }

    private static Scaling llama3(Settings rule, int original) {
        double low = rule.positive("low_freq_factor", Double.NaN);
        double high = rule.positive("high_freq_factor", Double.NaN);
        if (!(low < high)) {
            throw rule.wrong("high_freq_factor", "more than low_freq_factor " + low);
        }
        return new Llama3(factor(rule), low, high, original);
    }

    private static Scaling yarn(Settings rule, int original, int maxPositions) {
        double factor = rule.has("factor") ? factor(rule) : Math.max(1, maxPositions / (double) original);
        double attention;
        double mscale = rule.number("mscale", 0);
        double mscaleAllDim = rule.number("mscale_all_dim", 0);
        if (rule.has("attention_factor")) {
            attention = rule.positive("attention_factor", 1);
        } else if (mscale != 0 && mscaleAllDim != 0) {
            attention = magnitude(factor, mscale) / magnitude(factor, mscaleAllDim);
        } else {
            attention = magnitude(factor, 1);
        }
        return new Yarn(
                factor,
                original,
                rule.positive("beta_fast", 32),
                rule.positive("beta_slow", 1),
                attention,
                rule.flag("truncate", true));
    }

    /** YaRN's temperature, 0.1 ln(factor) + 1, with DeepSeek's extra weight. */
    private static double magnitude(double factor, double weight) {
        return factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
    }

    private static double factor(Settings rule) {
        double factor = rule.positive("factor", Double.NaN);
        if (factor < 1) {
            throw rule.wrong("factor", "a number of at least 1");
        }
        return factor;
    }

    /** Rotating only a part of each head is not what these architectures do. */
    private static void whole(Settings s) {
        if (s.number("partial_rotary_factor", 1) != 1) {
            throw new MillraceException(s.file() + ": partial_rotary_factor other than 1 is not supported");
        }
    }
}
