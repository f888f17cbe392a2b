package dev.millrace.models.arch;

import dev.millrace.core.MillraceException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;

/**
 * A configuration in Hugging Face's keys, read strictly: a value of the wrong kind is refused with its key, and so is,
 * at the end, a key that nobody asked for and that might change what the model computes.
 */
final class Settings {
    /** Keys that change training, generation, tokenizing or bookkeeping, never what a forward pass computes. */
    private static final Set<String> INERT = Set.of(
            "model_type", "architectures", "is_decoder", "transformers_version", "torch_dtype", "dtype", "name_or_path", "auto_map",
            "use_cache", "use_bfloat16", "torchscript", "return_dict", "return_dict_in_generate", "output_attentions",
            "output_hidden_states", "output_scores", "output_past", "gradient_checkpointing", "initializer_range",
            "initializer_factor", "chunk_size_feed_forward", "pretraining_tp", "attn_implementation", "use_flash_attn",
            "use_flash_attention", "model_max_length", "max_sequence_length", "max_seq_len", "is_llama_config",
            "transformers.js_config", "tie_weights_", "sentence_transformers",
            // dropout, of training alone
            "attn_pdrop", "embd_pdrop", "resid_pdrop", "dropout", "attention_dropout", "hidden_dropout",
            "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "qa_dropout",
            "seq_classif_dropout", "summary_first_dropout", "mlp_dropout",
            // tokens and texts
            "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id", "tokenizer_class",
            "bos_token", "eos_token", "pad_token", "unk_token", "prefix", "task_specific_params", "finetuning_task", "problem_type", "language",
            // generation
            "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
            "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
            "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences",
            "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values", "suppress_tokens",
            "begin_suppress_tokens", "exponential_decay_length_penalty",
            // labels
            "id2label", "label2id", "num_labels");

    /** No dimension of a model is larger; keeps products of two within a long and lists within memory. */
    private static final int LARGEST = 1 << 24;

    private static final int MOST_LAYERS = 4096;

    private final String file;
    private final JsonNode root;
    private final Map<String, String> own;
    private final Set<String> seen = new HashSet<>();

    /** @param file where the keys stand, for messages */
    Settings(String file, JsonNode root) {
        this(file, root, Map.of());
    }

    /** @param own what the file itself calls some keys, for messages */
    Settings(String file, JsonNode root, Map<String, String> own) {
        if (root == null || !root.isObject()) {
            throw new MillraceException(file + ": expected a JSON object");
        }
        this.file = file;
        this.root = root;
        this.own = own;
    }

    private String own(String key) {
        return own.getOrDefault(key, key);
    }

    String file() {
        return file;
    }

    /** Whether the key is there with a value other than null. */
    boolean has(String key) {
        return root.has(key) && !root.get(key).isNull();
    }

    /** Whether the key is there, null included. */
    boolean mentions(String key) {
        return root.has(key);
    }

    /** Accepts keys that change nothing here. */
    void ignore(String... keys) {
        seen.addAll(List.of(keys));
    }

    /** A whole number of at least 1 that must be there, under the first of these names that is. */
    int size(String... keys) {
        ignore(keys);
        String key = first(keys);
        if (!has(key)) {
            throw new MillraceException(file + ": " + own(key) + " is missing");
        }
        return integer(key, 1, 1);
    }

    /** The first of these names that is there; where none is, the one the file would use. */
    String first(String... keys) {
        for (String key : keys) {
            if (has(key)) {
                return key;
            }
        }
        for (String key : keys) {
            if (own.containsKey(key)) {
                return key;
            }
        }
        return keys[0];
    }

    /** The number of layers, under the first of these names that is there. */
    int layers(String... keys) {
        int layers = size(keys);
        if (layers > MOST_LAYERS) {
            throw wrong(first(keys), "at most " + MOST_LAYERS);
        }
        return layers;
    }

    /** A whole number of at least 1; {@code otherwise} where the key is absent or null. */
    int sizeOr(String key, int otherwise) {
        return integer(key, 1, otherwise);
    }

    /** A whole number of at least {@code least}. */
    int integer(String key, int least, int otherwise) {
        JsonNode value = value(key);
        if (value == null) {
            return otherwise;
        }
        boolean whole = value.isIntegralNumber() && value.canConvertToInt();
        if (!whole || value.intValue() < least) {
            throw wrong(key, "a whole number of at least " + least);
        }
        if (value.intValue() > LARGEST) {
            throw wrong(key, "at most " + LARGEST);
        }
        return value.intValue();
    }

    /** A finite number. */
    double number(String key, double otherwise) {
        JsonNode value = value(key);
        if (value == null) {
            return otherwise;
        }
        if (!value.isNumber() || !Double.isFinite(value.doubleValue())) {
            throw wrong(key, "a number");
        }
        return value.doubleValue();
    }

    /** A finite number above 0. */
    double positive(String key, double otherwise) {
        double value = number(key, otherwise);
        if (!(value > 0)) {
            throw has(key) ? wrong(key, "a number above 0") : new MillraceException(file + ": " + own(key) + " is missing");
        }
        return value;
    }

    boolean flag(String key, boolean otherwise) {
        JsonNode value = value(key);
        if (value == null) {
            return otherwise;
        }
        if (!value.isBoolean()) {
            throw wrong(key, "true or false");
        }
        return value.booleanValue();
    }

    String text(String key, String otherwise) {
        JsonNode value = value(key);
        if (value == null) {
            return otherwise;
        }
        if (!value.isString()) {
            throw wrong(key, "a string");
        }
        return value.stringValue();
    }

    /** A list of strings, empty where absent. */
    List<String> texts(String key) {
        JsonNode value = value(key);
        List<String> texts = new ArrayList<>();
        if (value == null) {
            return texts;
        }
        if (!value.isArray()) {
            throw wrong(key, "a list of strings");
        }
        for (JsonNode item : value) {
            if (!item.isString()) {
                throw wrong(key, "a list of strings");
            }
            texts.add(item.stringValue());
        }
        return texts;
    }

    /** One token id or a list of them; empty where absent. */
    List<Integer> ids(String key) {
        JsonNode value = value(key);
        List<Integer> ids = new ArrayList<>();
        if (value != null) {
            for (JsonNode item : value.isArray() ? value : JsonNodeFactory.instance.arrayNode().add(value)) {
                if (!item.isIntegralNumber() || !item.canConvertToInt()) {
                    throw wrong(key, "a token id or a list of them");
                }
                // some checkpoints write -1 for none
                if (item.intValue() >= 0) {
                    ids.add(item.intValue());
                }
            }
        }
        return ids;
    }

    /** A list of finite numbers; empty where absent. */
    List<Float> floats(String key) {
        JsonNode value = value(key);
        List<Float> floats = new ArrayList<>();
        if (value == null) {
            return floats;
        }
        if (!value.isArray()) {
            throw wrong(key, "a list of numbers");
        }
        for (JsonNode item : value) {
            if (!item.isNumber() || !Float.isFinite(item.floatValue())) {
                throw wrong(key, "a list of numbers");
            }
            floats.add(item.floatValue());
        }
        return floats;
    }

    /** The object under a key; null where absent. What it holds is checked by its own {@link #finish}. */
    Settings section(String key) {
        JsonNode value = value(key);
        return value == null ? null : new Settings(own.isEmpty() ? file + ": " + key : file, value, own);
    }

    /** How many entries the object or list under a key has; 0 where absent. */
    int count(String key) {
        JsonNode value = value(key);
        return value == null ? 0 : value.size();
    }

    /** Refuses a switch that is on. */
    void refuse(String key, String why) {
        if (flag(key, false)) {
            throw new MillraceException(file + ": " + own(key) + " = true is not supported: " + why);
        }
    }

    /** Refuses the value of a key. */
    MillraceException wrong(String key, String expected) {
        return new MillraceException(file + ": " + own(key) + " is " + brief(root.get(key)) + ", expected " + expected);
    }

    /** Refuses what nobody asked for, unless it is off, empty or known to change nothing. */
    void finish(String reader) {
        for (var entry : root.properties()) {
            String key = entry.getKey();
            boolean known = seen.contains(key) || INERT.contains(key) || key.startsWith("_") || key.startsWith("unsloth");
            if (!known && !off(entry.getValue())) {
                throw new MillraceException(file + ": " + line(key) + " = " + brief(entry.getValue()) + " is not known to the "
                        + reader + " reader and may change what the model computes; remove the key if it does not");
            }
        }
    }

    private static boolean off(JsonNode value) {
        return value.isNull()
                || (value.isBoolean() && !value.booleanValue())
                || (value.isContainer() && value.isEmpty())
                || (value.isString() && value.stringValue().isEmpty());
    }

    private JsonNode value(String key) {
        seen.add(key);
        return has(key) ? root.get(key) : null;
    }

    /** Without line breaks and other control characters. */
    static String line(String text) {
        return text.replaceAll("\\p{Cntrl}", "?");
    }

    private static String brief(JsonNode value) {
        String text = line(String.valueOf(value));
        return text.length() <= 60 ? text : text.substring(0, 57) + "...";
    }
}
