package dev.millrace.models.tokenizer;

import dev.millrace.core.MillraceException;
import dev.millrace.models.tokenizer.TokenizerSpec.Bpe;
import dev.millrace.models.tokenizer.TokenizerSpec.WordPiece;
import dev.millrace.models.tokenizer.Vocabularies.Merge;
import java.io.StringWriter;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;

/** The three kinds of tokenizer that checkpoints without a {@code tokenizer.json} have. */
final class Specs {
    private static final String BYTE_LEVEL =
            "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}";

    private Specs() {}

    /** GPT-2 and its followers: bytes spelled as letters, merges by rank. */
    static TokenizerSpec byteLevel(
            Map<String, Integer> vocabulary,
            List<Merge> merges,
            List<AddedToken> added,
            PreTokenizer cut,
            String postProcessor) {
        return new TokenizerSpec(
                new Bpe(vocabulary, merges, null, false, cut.ignoreMerges),
                added,
                cut.normalizer,
                cut.json,
                postProcessor,
                BYTE_LEVEL);
    }

    /**
     * SentencePiece BPE as Llama 1 and 2 have it: spaces as U+2581, unknown characters as byte
     * tokens.
     *
     * @param spacePrefix whether a space is put before the text
     */
    static TokenizerSpec sentencePiece(
            Map<String, Integer> vocabulary,
            List<Merge> merges,
            List<AddedToken> added,
            String unknown,
            boolean byteFallback,
            boolean spacePrefix,
            String postProcessor) {
        String replace =
                "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u2581\"}";
        String normalizer =
                spacePrefix
                        ? "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\u2581\"},"
                                + replace
                                + "]}"
                        : replace;
        String strip =
                spacePrefix ? ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}" : "";
        String decoder =
                "{\"type\":\"Sequence\",\"decoders\":["
                        + "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\u2581\"},\"content\":\" \"},"
                        + "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}"
                        + strip
                        + "]}";
        return new TokenizerSpec(
                new Bpe(vocabulary, merges, unknown, byteFallback, false),
                added,
                normalizer,
                null,
                postProcessor,
                decoder);
    }

    /**
     * BERT's WordPiece.
     *
     * @param source what a message about a missing special token names
     * @param lowercase whether the vocabulary is uncased: text is lowercased and its accents
     *     dropped
     */
    static TokenizerSpec wordPiece(
            Map<String, Integer> vocabulary, boolean lowercase, String source) {
        for (String needed : List.of("[UNK]", "[CLS]", "[SEP]")) {
            if (!vocabulary.containsKey(needed)) {
                throw new MillraceException(
                        source
                                + ": the vocabulary has no "
                                + needed
                                + " token; this is no BERT vocabulary");
            }
        }
        List<AddedToken> added =
                Stream.of("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
                        .filter(vocabulary::containsKey)
                        .map(token -> new AddedToken(vocabulary.get(token), token, true))
                        .toList();
        AddedToken cls = new AddedToken(vocabulary.get("[CLS]"), "[CLS]", true);
        AddedToken sep = new AddedToken(vocabulary.get("[SEP]"), "[SEP]", true);
        return new TokenizerSpec(
                new WordPiece(vocabulary, "[UNK]"),
                added,
                "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,"
                        + "\"lowercase\":"
                        + lowercase
                        + "}",
                "{\"type\":\"BertPreTokenizer\"}",
                template(List.of(cls), List.of(sep)),
                "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}");
    }

    /** A vocabulary with capital letters in its ordinary tokens is cased. */
    static boolean uncased(Map<String, Integer> vocabulary) {
        return vocabulary.keySet().stream()
                .filter(token -> !token.startsWith("["))
                .noneMatch(token -> token.chars().anyMatch(Character::isUpperCase));
    }

    /** The post-processor that puts these tokens round a text, or null where there are none. */
    static String template(List<AddedToken> before, List<AddedToken> after) {
        if (before.isEmpty() && after.isEmpty()) {
            return null;
        }
        StringWriter text = new StringWriter();
        try (JsonGenerator json = Json.FACTORY.createGenerator(ObjectWriteContext.empty(), text)) {
            json.writeStartObject();
            json.writeStringProperty("type", "TemplateProcessing");
            json.writeName("single");
            json.writeStartArray();
            before.forEach(token -> piece(json, "SpecialToken", token.text()));
            piece(json, "Sequence", "A");
            after.forEach(token -> piece(json, "SpecialToken", token.text()));
            json.writeEndArray();
            json.writeName("pair");
            json.writeStartArray();
            piece(json, "Sequence", "A");
            piece(json, "Sequence", "B");
            json.writeEndArray();
            json.writeName("special_tokens");
            json.writeStartObject();
            Stream.concat(before.stream(), after.stream())
                    .distinct()
                    .forEach(token -> {
                        json.writeName(token.text());
                        json.writeStartObject();
                        json.writeStringProperty("id", token.text());
                        json.writeName("ids");
                        json.writeArray(new int[] {token.id()}, 0, 1);
                        json.writeName("tokens");
                        json.writeArray(new String[] {token.text()}, 0, 1);
                        json.writeEndObject();
                    });
            json.writeEndObject();
            json.writeEndObject();
        }
        return text.toString();
    }

    private static void piece(JsonGenerator json, String kind, String id) {
        json.writeStartObject();
        json.writeName(kind);
        json.writeStartObject();
        json.writeStringProperty("id", id);
        json.writeNumberProperty("type_id", 0);
        json.writeEndObject();
        json.writeEndObject();
    }
}
