package dev.millrace.models.tokenizer;

import dev.millrace.models.tokenizer.Json.BadField;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What {@code tokenizer_config.json} says that the tokenizer itself does not.
 *
 * @param source the file
 * @param tokenizerClass {@code tokenizer_class}, or an empty string
 * @param bosToken spelling of the begin-of-sequence token, or null; {@code eosToken} likewise
 * @param lowercase {@code do_lower_case}, or null
 * @param chatTemplates chat templates by name, a lone one under {@code default}; empty where there
 *     is none
 */
public record TokenizerConfig(
        String source,
        String tokenizerClass,
        String bosToken,
        String eosToken,
        Boolean lowercase,
        Map<String, String> chatTemplates,
        List<AddedToken> addedTokens) {

    private static final String NAME = "tokenizer_config.json";

    /** The file in a checkpoint directory; one that says nothing where there is no such file. */
    public static TokenizerConfig ofDirectory(Path directory) {
        Path file = directory.resolve(NAME);
        if (!Files.exists(file)) {
            return new TokenizerConfig(file.toString(), "", null, null, null, Map.of(), List.of());
        }
        return Json.read(file, p -> of(Json.value(p, "(document)"), file.toString()));
    }

    static TokenizerConfig beside(Path file) {
        return ofDirectory(file.toAbsolutePath().getParent());
    }

    /** The tokenizer class without its ending: {@code GPT2} for {@code GPT2TokenizerFast}. */
    String kind() {
        return tokenizerClass.replaceFirst("Tokenizer(Fast)?$", "");
    }

    private static TokenizerConfig of(Object document, String source) {
        if (!(document instanceof Map<?, ?> map)) {
            throw new BadField("(document)", "should be an object");
        }
        String tokenizerClass = map.get("tokenizer_class") instanceof String name ? name : "";
        Boolean lowercase = map.get("do_lower_case") instanceof Boolean flag ? flag : null;
        return new TokenizerConfig(
                source,
                tokenizerClass,
                token(map, "bos_token"),
                token(map, "eos_token"),
                lowercase,
                templates(map.get("chat_template")),
                addedTokens(map.get("added_tokens_decoder")));
    }

    /** A token as text, or as an object with its text under {@code content}. */
    private static String token(Map<?, ?> map, String name) {
        return switch (map.get(name)) {
            case null -> null;
            case String text -> text;
            case Map<?, ?> token when token.get("content") instanceof String text -> text;
            default -> throw new BadField(name, "should be a token");
        };
    }

    private static Map<String, String> templates(Object value) {
        return switch (value) {
            case null -> Map.of();
            case String text -> Map.of("default", text);
            case List<?> list -> {
                Map<String, String> templates = new LinkedHashMap<>();
                for (Object entry : list) {
                    if (!(entry instanceof Map<?, ?> named)
                            || !(named.get("name") instanceof String name)
                            || !(named.get("template") instanceof String text)) {
                        throw new BadField("chat_template", "should be a list of {name, template}");
                    }
                    templates.put(name, text);
                }
                yield templates;
            }
            default ->
                    throw new BadField(
                            "chat_template", "should be a string or a list of {name, template}");
        };
    }

    private static List<AddedToken> addedTokens(Object value) {
        List<AddedToken> tokens = new ArrayList<>();
        if (value instanceof Map<?, ?> byId) {
            for (Map.Entry<?, ?> entry : byId.entrySet()) {
                String field = "added_tokens_decoder[" + entry.getKey() + "]";
                if (!(entry.getValue() instanceof Map<?, ?> token)
                        || !(token.get("content") instanceof String text)) {
                    throw new BadField(field, "should be an object with content");
                }
                tokens.add(
                        new AddedToken(
                                id(entry.getKey(), field),
                                text,
                                Boolean.TRUE.equals(token.get("special"))));
            }
        }
        return List.copyOf(tokens);
    }

    private static int id(Object key, String field) {
        try {
            return TokenizerJson.id(Long.valueOf(String.valueOf(key)), field);
        } catch (NumberFormatException e) {
            throw new BadField(field, "is no token id");
        }
    }
}
