package dev.millrace.models.tokenizer;

import dev.millrace.models.tokenizer.Json.BadField;
import java.util.Map;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;

/**
 * Checks a {@code tokenizer.json} before the native library sees it.
 *
 * <p>The library reports many mistakes, without naming the field; on others (a template that names
 * an unknown token, an empty prefix, a short character map, ...) it aborts the whole process. So:
 * known components only, each with those fields checked whose wrong values abort, and ids in
 * bounds.
 */
final class TokenizerJson {
    /** Far above any published vocabulary (about 260,000), and small enough to size tables by. */
    static final int MAX_ID = (1 << 24) - 1;

    private int largestId = -1;
    private String type;
    private String subwordPrefix;
    private boolean vocabulary;

    private TokenizerJson() {}

    /**
     * @return the vocabulary size: one more than the largest id of model and added tokens
     */
    static int check(JsonParser p) {
        TokenizerJson json = new TokenizerJson();
        json.document(p);
        return json.largestId + 1;
    }

    private void document(JsonParser p) {
        Json.expect(p, JsonToken.START_OBJECT, "(document)");
        while (p.nextToken() == JsonToken.PROPERTY_NAME) {
            String name = p.currentName();
            p.nextToken();
            switch (name) {
                case "model" -> model(p);
                case "added_tokens" -> addedTokens(p);
                case "normalizer", "pre_tokenizer", "post_processor", "decoder" ->
                        Components.check(name, Json.value(p, name));
                // Truncation and padding are switched off after loading; "version" is the library's
                // affair.
                default -> p.skipChildren();
            }
        }
        if (!vocabulary) {
            throw new BadField("model.vocab", "is missing; this is no tokenizer.json");
        }
        if (type == null) {
            throw new BadField(
                    "model.type", "is missing; BPE, WordPiece, WordLevel or Unigram is needed");
        }
        if (type.equals("BPE") && subwordPrefix != null) {
            throw new BadField("model.continuing_subword_prefix", "is not supported for BPE");
        }
    }

    private void model(JsonParser p) {
        Json.expect(p, JsonToken.START_OBJECT, "model");
        while (p.nextToken() == JsonToken.PROPERTY_NAME) {
            String name = p.currentName();
            p.nextToken();
            switch (name) {
                case "type" -> type(p);
                case "vocab" -> vocabulary(p);
                case "merges" -> merges(p);
                case "continuing_subword_prefix" -> subwordPrefix = prefix(p);
                default -> p.skipChildren();
            }
        }
    }

    private void type(JsonParser p) {
        Json.expect(p, JsonToken.VALUE_STRING, "model.type");
        type = p.getString();
        switch (type) {
            case "BPE", "WordPiece", "WordLevel", "Unigram" -> {}
            default ->
                    throw new BadField(
                            "model.type",
                            type + " is not known; BPE, WordPiece, WordLevel, Unigram are");
        }
    }

    private void vocabulary(JsonParser p) {
        vocabulary = true;
        if (p.currentToken() == JsonToken.START_OBJECT) {
            Vocabularies.ids(p, "model.vocab", (token, id) -> largestId = Math.max(largestId, id));
            return;
        }
        Json.expect(p, JsonToken.START_ARRAY, "model.vocab");
        int id = 0;
        for (; p.nextToken() != JsonToken.END_ARRAY; id++) {
            String field = "model.vocab[" + id + "]";
            Json.expect(p, JsonToken.START_ARRAY, field);
            p.nextToken();
            Json.expect(p, JsonToken.VALUE_STRING, field + "[0]");
            if (!p.nextToken().isNumeric()) {
                throw new BadField(
                        field + "[1]", "should be a score, found " + Json.name(p.currentToken()));
            }
            p.nextToken();
            Json.expect(p, JsonToken.END_ARRAY, field);
        }
        largestId = Math.max(largestId, id - 1);
    }

    private static void merges(JsonParser p) {
        Json.expect(p, JsonToken.START_ARRAY, "model.merges");
        for (int i = 0; p.nextToken() != JsonToken.END_ARRAY; i++) {
            if (p.currentToken() == JsonToken.VALUE_STRING) {
                continue;
            }
            if (p.currentToken() != JsonToken.START_ARRAY
                    || p.nextToken() != JsonToken.VALUE_STRING
                    || p.nextToken() != JsonToken.VALUE_STRING
                    || p.nextToken() != JsonToken.END_ARRAY) {
                throw new BadField(
                        "model.merges[" + i + "]",
                        "should be \"left right\" or [\"left\", \"right\"]");
            }
        }
    }

    private static String prefix(JsonParser p) {
        if (p.currentToken() == JsonToken.VALUE_NULL) {
            return null;
        }
        Json.expect(p, JsonToken.VALUE_STRING, "model.continuing_subword_prefix");
        return p.getString().isEmpty() ? null : p.getString();
    }

    private void addedTokens(JsonParser p) {
        if (p.currentToken() == JsonToken.VALUE_NULL) {
            return;
        }
        Json.expect(p, JsonToken.START_ARRAY, "added_tokens");
        for (int i = 0; p.nextToken() != JsonToken.END_ARRAY; i++) {
            String field = "added_tokens[" + i + "]";
            Json.expect(p, JsonToken.START_OBJECT, field);
            Object token = Json.value(p, field);
            if (!(token instanceof Map<?, ?> map) || !(map.get("content") instanceof String)) {
                throw new BadField(field + ".content", "should be a string");
            }
            largestId = Math.max(largestId, id(map.get("id"), field + ".id"));
        }
    }

    static int id(Object value, String field) {
        if (!(value instanceof Long id) || id < 0 || id > MAX_ID) {
            throw new BadField(field, value + " is no token id: 0 to " + MAX_ID + " are");
        }
        return id.intValue();
    }
}
