package dev.millrace.models.arch;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.Views;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import tools.jackson.databind.json.JsonMapper;

/**
 * Models of real shapes with random weights, for measuring without a download: {@code synthetic:NAME}. The weights are a
 * function of their names and a fixed seed, computed whenever they are read; nothing is kept in memory.
 */
public final class Synthetic {
    /** What such a model's name begins with. */
    public static final String PREFIX = "synthetic:";

    private static final long SEED = 20251121;
    private static final float DEVIATION = 0.02f;

    private record Kind(WeightFormat format, String config) {}

    private static final Map<String, Kind> KINDS = kinds();

    private Synthetic() {}

    /** The names that may follow {@link #PREFIX}. */
    public static Set<String> names() {
        return KINDS.keySet();
    }

    /**
     * The model of that name.
     *
     * @param name with or without {@link #PREFIX}
     * @throws MillraceException when there is none, listing those there are
     */
    public static ModelGraph build(String name) {
        String bare = name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name;
        Kind kind = KINDS.get(bare);
        if (kind == null) {
            throw new MillraceException(
                    PREFIX + bare + " is not known; there are: " + String.join(", ", KINDS.keySet()));
        }
        Settings settings = new Settings(PREFIX + bare, JsonMapper.shared().readTree(kind.config()));
        return Architectures.build(PREFIX + bare, settings, new Source(PREFIX + bare, kind.format()));
    }

    private record Source(String origin, WeightFormat format) implements TensorSource {
        @Override
        public Collection<String> names() {
            return List.of();
        }

        @Override
        public boolean has(String name) {
            return !name.endsWith(".qweight");
        }

        @Override
        public Weight get(String name, Shape shape) {
            if (shape.rows() > 1) {
                return Views.random(name, shape, format, SEED, DEVIATION);
            }
            // gains of norms lie round 1, biases round 0; both stay f32 as they weigh nothing
            float[] values = Views.random(name, shape, WeightFormat.F32, SEED, DEVIATION).floats();
            if (name.endsWith(".weight")) {
                for (int i = 0; i < values.length; i++) {
                    values[i] += 1;
                }
            }
            return Views.vector(name, values);
        }

        @Override
        public boolean conv1d() {
            return false;
        }
    }

    private static Map<String, Kind> kinds() {
        Map<String, Kind> kinds = new LinkedHashMap<>();
        kinds.put("gpt2", gpt2(768, 12, 12));
        kinds.put("gpt2-medium", gpt2(1024, 24, 16));
        kinds.put("gpt2-large", gpt2(1280, 36, 20));
        kinds.put("gpt2-xl", gpt2(1600, 48, 25));
        kinds.put("distilgpt2", gpt2(768, 6, 12));
        kinds.put(
                "llama-3.2-1b",
                llama(128256, 2048, 8192, 16, 32, 8, true, 131072, 1e-5, 128000, 128001, llama3(32)));
        kinds.put("llama-2-7b", llama(32000, 4096, 11008, 32, 32, 32, false, 4096, 1e-5, 1, 2, """
                {"rope_type": "default", "rope_theta": 10000.0}"""));
        kinds.put(
                "llama-3.1-8b",
                llama(128256, 4096, 14336, 32, 32, 8, false, 131072, 1e-5, 128000, 128001, llama3(8)));
        kinds.put("bert-base", new Kind(WeightFormat.F32, """
                {"model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
                 "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512,
                 "type_vocab_size": 2}"""));
        return kinds;
    }

    private static Kind gpt2(int hidden, int layers, int heads) {
        return new Kind(WeightFormat.F32, """
                {"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": %d, "n_layer": %d,
                 "n_head": %d, "bos_token_id": 50256, "eos_token_id": 50256}""".formatted(hidden, layers, heads));
    }

    private static String llama3(int factor) {
        return """
                {"rope_type": "llama3", "rope_theta": 500000.0, "factor": %d, "low_freq_factor": 1.0,
                 "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}""".formatted(factor);
    }

    private static Kind llama(
            int vocab,
            int hidden,
            int inner,
            int layers,
            int heads,
            int kvHeads,
            boolean tied,
            int positions,
            double epsilon,
            int bos,
            int eos,
            String rope) {
        return new Kind(WeightFormat.BF16, """
                {"model_type": "llama", "vocab_size": %d, "hidden_size": %d, "intermediate_size": %d,
                 "num_hidden_layers": %d, "num_attention_heads": %d, "num_key_value_heads": %d,
                 "tie_word_embeddings": %b, "max_position_embeddings": %d, "rms_norm_eps": %s, "bos_token_id": %d,
                 "eos_token_id": %d, "rope_parameters": %s}""".formatted(
                vocab, hidden, inner, layers, heads, kvHeads, tied, positions, epsilon, bos, eos, rope));
    }
}
