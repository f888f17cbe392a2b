package dev.millrace.models.tokenizer;

import dev.millrace.models.tokenizer.Json.BadField;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * Checks the steps round the model in a {@code tokenizer.json}: normalizer, pre-tokenizer,
 * post-processor, decoder.
 */
final class Components {
    private static final Map<String, Set<String>> KNOWN =
            Map.of(
                    "normalizer",
                    Set.of(
                            "BertNormalizer",
                            "Strip",
                            "StripAccents",
                            "NFC",
                            "NFD",
                            "NFKC",
                            "NFKD",
                            "Sequence",
                            "Lowercase",
                            "Nmt",
                            "Precompiled",
                            "Replace",
                            "Prepend",
                            "ByteLevel"),
                    "pre_tokenizer",
                    Set.of(
                            "BertPreTokenizer",
                            "ByteLevel",
                            "CharDelimiterSplit",
                            "Metaspace",
                            "Whitespace",
                            "Sequence",
                            "Split",
                            "Punctuation",
                            "WhitespaceSplit",
                            "Digits",
                            "UnicodeScripts"),
                    "post_processor",
                    Set.of(
                            "RobertaProcessing",
                            "BertProcessing",
                            "ByteLevel",
                            "TemplateProcessing",
                            "Sequence"),
                    "decoder",
                    Set.of(
                            "BPEDecoder",
                            "ByteLevel",
                            "WordPiece",
                            "Metaspace",
                            "CTC",
                            "Sequence",
                            "Replace",
                            "Fuse",
                            "Strip",
                            "ByteFallback"));

    private static final Map<String, String> STEPS =
            Map.of(
                    "normalizer", "normalizers",
                    "pre_tokenizer", "pretokenizers",
                    "post_processor", "processors",
                    "decoder", "decoders");

    /** Texts that a pattern which can match nothing is likely to betray itself on. */
    private static final String[] PROBES = {
        "", "a", "a b", " A1.\n", "\u2581a\u2581", "aa  bb--''\t"
    };

    private Components() {}

    static void check(String kind, Object value) {
        if (value != null) {
            component(kind, value, kind);
        }
    }

    private static void component(String kind, Object value, String field) {
        Map<?, ?> map = object(value, field);
        String type = string(map, "type", field);
        if (!KNOWN.get(kind).contains(type)) {
            throw new BadField(field + ".type", type + " is not supported");
        }
        switch (type) {
            case "Sequence" -> {
                List<?> steps = list(map, STEPS.get(kind), field);
                for (int i = 0; i < steps.size(); i++) {
                    component(kind, steps.get(i), field + "." + STEPS.get(kind) + "[" + i + "]");
                }
            }
            case "Prepend" -> notEmpty(string(map, "prepend", field), field + ".prepend");
            case "Replace" -> pattern(map.get("pattern"), field + ".pattern");
            case "Precompiled" ->
                    CharsMap.check(
                            string(map, "precompiled_charsmap", field),
                            field + ".precompiled_charsmap");
            case "BertProcessing", "RobertaProcessing" -> {
                namedId(map, "sep", field);
                namedId(map, "cls", field);
            }
            case "TemplateProcessing" -> template(map, field);
            case "Strip" -> {
                // As a decoder it fails on tokens that are shorter than what it strips at the end.
                if (kind.equals("decoder") && !Long.valueOf(0).equals(map.get("stop"))) {
                    throw new BadField(field + ".stop", "only 0 is supported");
                }
            }
            default -> {}
        }
    }

    private static void pattern(Object value, String field) {
        Map<?, ?> map = object(value, field);
        if (map.get("String") instanceof String literal) {
            notEmpty(literal, field + ".String");
            return;
        }
        String regex = string(map, "Regex", field);
        try {
            Pattern compiled = Pattern.compile(regex, Pattern.UNICODE_CHARACTER_CLASS);
            for (String probe : PROBES) {
                if (compiled.matcher(probe)
                        .results()
                        .anyMatch(match -> match.start() == match.end())) {
                    throw new BadField(
                            field + ".Regex",
                            "matches nothing at all in \""
                                    + probe
                                    + "\", which cannot be replaced");
                }
            }
        } catch (PatternSyntaxException e) {
            throw new BadField(field + ".Regex", "is no regular expression: " + e.getDescription());
        }
    }

    private static void template(Map<?, ?> map, String field) {
        Map<?, ?> specials = object(map.get("special_tokens"), field + ".special_tokens");
        for (Map.Entry<?, ?> entry : specials.entrySet()) {
            String where = field + ".special_tokens[\"" + entry.getKey() + "\"]";
            Map<?, ?> special = object(entry.getValue(), where);
            if (!entry.getKey().equals(special.get("id"))) {
                throw new BadField(where + ".id", "should repeat the token's name");
            }
            List<?> ids = list(special, "ids", where);
            if (ids.size() != list(special, "tokens", where).size()) {
                throw new BadField(
                        where, "has " + ids.size() + " ids for another number of tokens");
            }
            for (Object id : ids) {
                TokenizerJson.id(id, where + ".ids");
            }
        }
        for (String part : new String[] {"single", "pair"}) {
            List<?> pieces = list(map, part, field);
            int sequences = 0;
            for (int i = 0; i < pieces.size(); i++) {
                String where = field + "." + part + "[" + i + "]";
                Map<?, ?> piece = object(pieces.get(i), where);
                if (piece.get("SpecialToken") instanceof Map<?, ?> special) {
                    if (!specials.containsKey(special.get("id"))) {
                        throw new BadField(
                                where + ".SpecialToken.id",
                                special.get("id") + " is not among special_tokens");
                    }
                } else if (part.equals("single")) {
                    Map<?, ?> sequence = object(piece.get("Sequence"), where + ".Sequence");
                    if (!"A".equals(sequence.get("id"))) {
                        throw new BadField(
                                where + ".Sequence.id",
                                sequence.get("id") + " is not \"A\", the only text there is");
                    }
                    sequences++;
                }
            }
            if (part.equals("single") && sequences != 1) {
                throw new BadField(
                        field + ".single",
                        "should have the text once, has it " + sequences + " times");
            }
        }
    }

    /** A pair ["token", id]. */
    private static void namedId(Map<?, ?> map, String name, String field) {
        List<?> pair = list(map, name, field);
        if (pair.size() != 2 || !(pair.getFirst() instanceof String)) {
            throw new BadField(field + "." + name, "should be [\"token\", id]");
        }
        TokenizerJson.id(pair.getLast(), field + "." + name + "[1]");
    }

    private static void notEmpty(String text, String field) {
        if (text.isEmpty()) {
            throw new BadField(field, "is empty");
        }
    }

    private static Map<?, ?> object(Object value, String field) {
        if (value instanceof Map<?, ?> map) {
            return map;
        }
        throw new BadField(field, "should be an object");
    }

    private static List<?> list(Map<?, ?> map, String name, String field) {
        if (map.get(name) instanceof List<?> list) {
            return list;
        }
        throw new BadField(field + "." + name, "should be a list");
    }

    private static String string(Map<?, ?> map, String name, String field) {
        if (map.get(name) instanceof String text) {
            return text;
        }
        throw new BadField(field + "." + name, "should be a string");
    }
}
