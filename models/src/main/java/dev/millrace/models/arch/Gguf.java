package dev.millrace.models.arch;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.models.checkpoint.GgufCheckpoint;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * A GGUF file as architectures read it: its tensors under Hugging Face's names, its metadata as Hugging Face's keys, so
 * that an architecture is written once. Names and keys are those of llama.cpp's converter (gguf-py's constants).
 */
final class Gguf implements TensorSource {
    private static final Map<String, String> GPT2 = Map.ofEntries(
            Map.entry("token_embd", "wte"),
            Map.entry("position_embd", "wpe"),
            Map.entry("output_norm", "ln_f"),
            Map.entry("output", "lm_head"),
            Map.entry("blk", "h."),
            Map.entry("attn_norm", "ln_1"),
            Map.entry("attn_qkv", "attn.c_attn"),
            Map.entry("attn_output", "attn.c_proj"),
            Map.entry("ffn_norm", "ln_2"),
            Map.entry("ffn_up", "mlp.c_fc"),
            Map.entry("ffn_down", "mlp.c_proj"));
    private static final Map<String, String> LLAMA = Map.ofEntries(
            Map.entry("token_embd", "model.embed_tokens"),
            Map.entry("output_norm", "model.norm"),
            Map.entry("output", "lm_head"),
            Map.entry("blk", "model.layers."),
            Map.entry("attn_norm", "input_layernorm"),
            Map.entry("attn_q", "self_attn.q_proj"),
            Map.entry("attn_k", "self_attn.k_proj"),
            Map.entry("attn_v", "self_attn.v_proj"),
            Map.entry("attn_q_norm", "self_attn.q_norm"),
            Map.entry("attn_k_norm", "self_attn.k_norm"),
            Map.entry("attn_output", "self_attn.o_proj"),
            Map.entry("ffn_norm", "post_attention_layernorm"),
            Map.entry("ffn_gate", "mlp.gate_proj"),
            Map.entry("ffn_up", "mlp.up_proj"),
            Map.entry("ffn_down", "mlp.down_proj"));
    private static final Map<String, String> BERT = Map.ofEntries(
            Map.entry("token_embd", "embeddings.word_embeddings"),
            Map.entry("position_embd", "embeddings.position_embeddings"),
            Map.entry("token_types", "embeddings.token_type_embeddings"),
            Map.entry("token_embd_norm", "embeddings.LayerNorm"),
            Map.entry("blk", "encoder.layer."),
            Map.entry("attn_q", "attention.self.query"),
            Map.entry("attn_k", "attention.self.key"),
            Map.entry("attn_v", "attention.self.value"),
            Map.entry("attn_output", "attention.output.dense"),
            Map.entry("attn_output_norm", "attention.output.LayerNorm"),
            Map.entry("ffn_up", "intermediate.dense"),
            Map.entry("ffn_down", "output.dense"),
            Map.entry("layer_output_norm", "output.LayerNorm"));

    private static final Map<String, Map<String, String>> ARCHITECTURES =
            Map.of("bert", BERT, "gpt2", GPT2, "llama", LLAMA, "qwen2", LLAMA, "qwen3", LLAMA);

    /** Keys that say what is read from elsewhere, or change nothing. */
    private static final String[] INERT = {"vocab_size", "tensor_data_layout", "rope.scaling.finetuned"};

    private final GgufCheckpoint checkpoint;
    private final String architecture;
    private final Map<String, String> own = new LinkedHashMap<>();

    Gguf(GgufCheckpoint checkpoint) {
        this.checkpoint = checkpoint;
        this.architecture = checkpoint.metadata().architecture();
        Map<String, String> names = ARCHITECTURES.get(architecture);
        if (names == null) {
            throw new MillraceException(checkpoint.path() + ": general.architecture " + architecture
                    + " is not supported; of GGUF files these are: "
                    + String.join(", ", ARCHITECTURES.keySet().stream().sorted().toList()));
        }
        for (String name : checkpoint.names()) {
            // read as configuration, not as a weight
            if (!name.equals("rope_freqs.weight")) {
                own.put(translated(name, names), name);
            }
        }
    }

    /** {@code blk.3.attn_q.weight} becomes {@code model.layers.3.self_attn.q_proj.weight}; an unknown name stays. */
    private static String translated(String name, Map<String, String> names) {
        int dot = name.lastIndexOf('.');
        String stem = dot < 0 ? name : name.substring(0, dot);
        String end = dot < 0 ? "" : name.substring(dot);
        if (stem.startsWith("blk.")) {
            int second = stem.indexOf('.', 4);
            String part = second < 0 ? null : names.get(stem.substring(second + 1));
            return part == null ? name : names.get("blk") + stem.substring(4, second) + "." + part + end;
        }
        String whole = names.get(stem);
        return whole == null ? name : whole + end;
    }

    /** The metadata as config.json would say it. */
    Settings settings() {
        Keys keys = new Keys(origin(), checkpoint.metadata(), architecture + ".");
        ObjectNode config = JsonNodeFactory.instance.objectNode();
        config.put("model_type", architecture);
        keys.copy("embedding_length", config, "hidden_size");
        keys.copy("block_count", config, "num_hidden_layers");
        keys.copy("feed_forward_length", config, architecture.equals("gpt2") ? "n_inner" : "intermediate_size");
        keys.copy("attention.head_count", config, "num_attention_heads");
        keys.copy("context_length", config, "max_position_embeddings");
        rows("token_embd.weight", config, "vocab_size");
        checkpoint.metadata().findInteger("tokenizer.ggml.bos_token_id").ifPresent(id -> config.put("bos_token_id", id));
        endings(config);
        config.put("tie_word_embeddings", !checkpoint.has("output.weight"));
        switch (architecture) {
            case "gpt2" -> keys.number("attention.layer_norm_epsilon", config, "layer_norm_epsilon");
            case "bert" -> bert(keys, config);
            default -> llama(keys, config);
        }
        keys.ignore(INERT);
        keys.finish();
        return new Settings(checkpoint.path().toString(), config, keys.own());
    }

    private void endings(ObjectNode config) {
        ArrayNode ids = config.arrayNode();
        for (String key : new String[] {"eos_token_id", "eot_token_id", "eom_token_id"}) {
            checkpoint.metadata().findInteger("tokenizer.ggml." + key).ifPresent(ids::add);
        }
        config.set("eos_token_id", ids);
    }

    private void bert(Keys keys, ObjectNode config) {
        keys.number("attention.layer_norm_epsilon", config, "layer_norm_eps");
        rows("token_types.weight", config, "type_vocab_size");
        String pooling =
                switch (keys.integer("pooling_type", 0)) {
                    case 0 -> null;
                    case 1 -> "mean";
                    case 2 -> "cls";
                    default -> throw keys.wrong("pooling_type", "0 (none), 1 (mean) or 2 (cls)");
                };
        if (pooling != null) {
            config.set(Bert.SENTENCE, config.objectNode().put("pooling", pooling));
        }
    }

    private void llama(Keys keys, ObjectNode config) {
        keys.copy("attention.head_count_kv", config, "num_key_value_heads");
        keys.copy("attention.key_length", config, "head_dim");
        keys.number("attention.layer_norm_rms_epsilon", config, "rms_norm_eps");
        int heads = Math.max(1, config.path("num_attention_heads").asInt(1));
        int headDim = config.path("head_dim").asInt(config.path("hidden_size").asInt(0) / heads);
        if (headDim > 0) {
            config.put("head_dim", headDim);
        }
        if (keys.integer("attention.value_length", headDim) != headDim) {
            throw keys.wrong("attention.value_length", "the key's length " + headDim);
        }
        if (keys.integer("rope.dimension_count", headDim) != headDim) {
            throw keys.wrong("rope.dimension_count", "the whole head's " + headDim);
        }
        boolean bias = checkpoint.has("blk.0.attn_q.bias");
        if (architecture.equals("llama")) {
            // the converter reorders rows of q and k so that pairs stand side by side
            config.put("rope_interleaved", true);
            config.put("mlp_bias", checkpoint.has("blk.0.ffn_up.bias"));
            int window = keys.integer("attention.sliding_window", 0);
            if (window > 0) {
                config.put("model_type", "mistral").put("sliding_window", window);
                config.remove("mlp_bias");
            }
        }
        if (!architecture.equals("qwen2") && bias) {
            config.put("attention_bias", true);
        }
        config.set("rope_parameters", rope(keys, config));
    }

    private ObjectNode rope(Keys keys, ObjectNode config) {
        ObjectNode rope = config.objectNode();
        keys.number("rope.freq_base", rope, "rope_theta");
        if (checkpoint.has("rope_freqs.weight")) {
            ArrayNode factors = rope.put("rope_type", "factors").putArray("factors");
            for (float factor : checkpoint.weight("rope_freqs.weight").floats()) {
                factors.add(factor);
            }
            return rope;
        }
        String type = keys.text("rope.scaling.type", "none");
        switch (type) {
            case "none" -> rope.put("rope_type", "default");
            case "linear", "yarn" -> {
                rope.put("rope_type", type);
                keys.number("rope.scaling.factor", rope, "factor");
                if (type.equals("yarn")) {
                    keys.copy("rope.scaling.original_context_length", rope, "original_max_position_embeddings");
                    keys.number("rope.scaling.yarn_beta_fast", rope, "beta_fast");
                    keys.number("rope.scaling.yarn_beta_slow", rope, "beta_slow");
                }
            }
            default -> throw keys.wrong("rope.scaling.type", "none, linear or yarn");
        }
        keys.ignore("rope.scaling.factor", "rope.scaling.original_context_length");
        return rope;
    }

    private void rows(String tensor, ObjectNode config, String key) {
        if (checkpoint.has(tensor)) {
            config.put(key, checkpoint.weight(tensor).shape().rows());
        }
    }

    @Override
    public String origin() {
        return checkpoint.path().toString();
    }

    @Override
    public Collection<String> names() {
        return own.keySet();
    }

    @Override
    public boolean has(String name) {
        return own.containsKey(name);
    }

    @Override
    public Weight get(String name, Shape shape) {
        return checkpoint.weight(own.get(name));
    }

    @Override
    public String own(String name) {
        String found = own.get(name);
        if (found != null) {
            return found;
        }
        // a missing one: back through the table
        for (var entry : ARCHITECTURES.get(architecture).entrySet()) {
            int at = name.lastIndexOf('.');
            String stem = at < 0 ? name : name.substring(0, at);
            String end = at < 0 ? "" : name.substring(at);
            String layers = ARCHITECTURES.get(architecture).get("blk");
            if (stem.equals(entry.getValue())) {
                return entry.getKey() + end;
            }
            if (stem.startsWith(layers) && stem.endsWith("." + entry.getValue())) {
                String number = stem.substring(layers.length(), stem.length() - entry.getValue().length() - 1);
                if (number.chars().allMatch(Character::isDigit)) {
                    return "blk." + number + "." + entry.getKey() + end;
                }
            }
        }
        return name;
    }

    @Override
    public boolean conv1d() {
        return false;
    }
}
