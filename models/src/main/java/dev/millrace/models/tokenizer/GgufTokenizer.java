package dev.millrace.models.tokenizer;

import dev.millrace.core.MillraceException;
import dev.millrace.models.checkpoint.GgufWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/**
 * Writes a tokenizer.json as the {@code tokenizer.ggml.*} metadata of a GGUF file, as llama.cpp's converter lays it out:
 * byte-level BPE as kind {@code gpt2} with the name of its way to cut text, SentencePiece-like BPE as kind {@code llama}
 * with scores that order its merges.
 */
public final class GgufTokenizer {
    private static final int NORMAL = 1;
    private static final int UNKNOWN = 2;
    private static final int CONTROL = 3;
    private static final int USER_DEFINED = 4;
    private static final int UNUSED = 5;
    private static final int BYTE = 6;

    private final Path file;
    private final JsonNode model;
    private final String[] tokens;
    private final int[] types;
    private final Map<String, Integer> ids = new HashMap<>();

    private GgufTokenizer(Path file, JsonNode root, int size) {
        this.file = file;
        this.model = root.path("model");
        this.tokens = new String[size];
        this.types = new int[size];
        for (Map.Entry<String, JsonNode> entry : model.path("vocab").properties()) {
            put(entry.getKey(), entry.getValue(), NORMAL);
        }
        for (JsonNode added : root.path("added_tokens")) {
            boolean special = added.path("special").asBoolean(false);
            put(added.path("content").asString(""), added.path("id"), special ? CONTROL : USER_DEFINED);
        }
        String unknown = model.path("unk_token").asString("");
        if (ids.containsKey(unknown)) {
            types[ids.get(unknown)] = UNKNOWN;
        }
        for (int id = 0; id < size; id++) {
            if (tokens[id] == null) {
                tokens[id] = "[PAD" + id + "]";
                types[id] = UNUSED;
            }
        }
    }

    private void put(String token, JsonNode id, int type) {
        if (!id.isIntegralNumber() || id.asLong() < 0 || id.asLong() >= tokens.length) {
            throw wrong("token \"" + token + "\" has id " + id + ", the model knows ids below " + tokens.length);
        }
        tokens[id.intValue()] = token;
        types[id.intValue()] = type;
        ids.put(token, id.intValue());
    }

    /**
     * Adds the tokenizer of a checkpoint directory.
     *
     * @param size the model's vocabulary, at least the tokenizer's
     * @throws MillraceException when there is no tokenizer.json, or it is of a kind that GGUF has no form for
     */
    public static void write(Path directory, int size, GgufWriter to) {
        Path file = directory.resolve("tokenizer.json");
        if (!Files.exists(file)) {
            throw new MillraceException(directory + ": no tokenizer.json, which is what a GGUF file's tokenizer is made of");
        }
        JsonNode root = dev.millrace.models.checkpoint.Json.read(file);
        String type = root.path("model").path("type").asString("BPE");
        if (!type.equals("BPE")) {
            throw new MillraceException(file + ": a tokenizer of type " + type + " is not written to GGUF, BPE is");
        }
        GgufTokenizer tokenizer = new GgufTokenizer(file, root, size);
        if (tokenizer.model.path("byte_fallback").asBoolean(false)) {
            tokenizer.sentencePiece(root, to);
        } else {
            tokenizer.byteLevel(root, to);
        }
        tokenizer.around(root, directory, to);
    }

    private void byteLevel(JsonNode root, GgufWriter to) {
        to.string("tokenizer.ggml.model", "gpt2").string("tokenizer.ggml.pre", cut(root));
        vocabulary(to);
        List<String> merges = new ArrayList<>();
        merges(merge -> merges.add(merge[0] + " " + merge[1]));
        to.strings("tokenizer.ggml.merges", merges.toArray(String[]::new));
    }

    private String cut(JsonNode root) {
        JsonNode found = root.path("pre_tokenizer");
        for (PreTokenizer known : PreTokenizer.values()) {
            JsonNode json = dev.millrace.models.checkpoint.Json.parse(
                    known.json.getBytes(StandardCharsets.UTF_8), 0, known.json.length(), known.ggufName());
            if (patterns(json).equals(patterns(found))) {
                return known.ggufName();
            }
        }
        throw wrong("pre_tokenizer cuts text in a way that GGUF has no name for: " + patterns(found));
    }

    /** What a pre-tokenizer does, without the fields that change no ids. */
    private static List<String> patterns(JsonNode node) {
        List<String> patterns = new ArrayList<>();
        switch (node.path("type").asString("")) {
            case "Sequence" -> node.path("pretokenizers").forEach(part -> patterns.addAll(patterns(part)));
            case "Split" -> patterns.add(node.path("pattern").path("Regex").asString("") + " "
                    + node.path("behavior").asString(""));
            case "ByteLevel" -> patterns.add("bytes " + node.path("use_regex").asBoolean(true)
                    + node.path("add_prefix_space").asBoolean(false));
            default -> patterns.add(node.toString());
        }
        return patterns;
    }

    /** SentencePiece joins the best score first: a token scores the better, the earlier its first merge. */
    private void sentencePiece(JsonNode root, GgufWriter to) {
        float[] scores = new float[tokens.length];
        int[] rank = {0};
        Arrays.fill(scores, -1e6f);
        merges(merge -> {
            Integer id = ids.get(merge[0] + merge[1]);
            if (id != null && scores[id] == -1e6f) {
                scores[id] = -rank[0];
            }
            rank[0]++;
        });
        for (int id = 0; id < tokens.length; id++) {
            if (types[id] != NORMAL) {
                scores[id] = 0;
            }
            if (types[id] == NORMAL && tokens[id].matches("<0x[0-9A-F]{2}>")) {
                types[id] = BYTE;
                scores[id] = 0;
            }
        }
        to.string("tokenizer.ggml.model", "llama").string("tokenizer.ggml.pre", "default");
        vocabulary(to);
        to.floats("tokenizer.ggml.scores", scores);
        String shape = root.path("normalizer") + " " + root.path("pre_tokenizer");
        boolean prefix = shape.contains("\"Prepend\"")
                || shape.contains("\"prepend_scheme\":\"first\"")
                || shape.contains("\"prepend_scheme\":\"always\"");
        to.flag("tokenizer.ggml.add_space_prefix", prefix);
        Optional.ofNullable(ids.get(model.path("unk_token").asString("")))
                .ifPresent(id -> to.u32("tokenizer.ggml.unknown_token_id", id));
    }

    private void vocabulary(GgufWriter to) {
        to.strings("tokenizer.ggml.tokens", tokens).integers("tokenizer.ggml.token_type", types);
    }

    private void merges(java.util.function.Consumer<String[]> each) {
        for (JsonNode merge : model.path("merges")) {
            String[] parts = merge.isArray()
                    ? new String[] {merge.path(0).asString(""), merge.path(1).asString("")}
                    : merge.asString("").split(" ");
            if (parts.length != 2 || parts[0].contains(" ") || parts[1].contains(" ")) {
                throw wrong("merge " + merge + " is no pair of tokens");
            }
            each.accept(parts);
        }
    }

    /** Which tokens go before and after a text, and the chat template. */
    private void around(JsonNode root, Path directory, GgufWriter to) {
        JsonNode single = template(root.path("post_processor"));
        int last = single.size() - 1;
        to.flag("tokenizer.ggml.add_bos_token", last >= 0 && single.path(0).has("SpecialToken"));
        to.flag("tokenizer.ggml.add_eos_token", last > 0 && single.path(last).has("SpecialToken"));
        chatTemplate(directory).ifPresent(template -> to.string("tokenizer.chat_template", template));
    }

    /** chat_template.jinja, or tokenizer_config.json's chat_template: a text, or the one named default of a list. */
    private static Optional<String> chatTemplate(Path directory) {
        Path jinja = directory.resolve("chat_template.jinja");
        Path config = directory.resolve("tokenizer_config.json");
        try {
            if (Files.exists(jinja)) {
                return Optional.of(Files.readString(jinja));
            }
        } catch (IOException e) {
            throw new MillraceException(jinja + ": cannot be read: " + e, e);
        }
        JsonNode template = Files.exists(config)
                ? dev.millrace.models.checkpoint.Json.read(config).path("chat_template")
                : null;
        if (template == null || template.isString()) {
            return Optional.ofNullable(template).map(JsonNode::stringValue);
        }
        for (JsonNode one : template) {
            if (one.path("name").asString("").equals("default")) {
                return Optional.of(one.path("template").asString(""));
            }
        }
        return Optional.empty();
    }

    private static JsonNode template(JsonNode processor) {
        if (processor.path("type").asString("").equals("TemplateProcessing")) {
            return processor.path("single");
        }
        for (JsonNode part : processor.path("processors")) {
            JsonNode found = template(part);
            if (found.size() > 0) {
                return found;
            }
        }
        return processor.path("none");
    }

    private MillraceException wrong(String what) {
        return new MillraceException(file + ": " + what);
    }
}
