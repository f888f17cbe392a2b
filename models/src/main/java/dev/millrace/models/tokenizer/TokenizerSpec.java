package dev.millrace.models.tokenizer;

import dev.millrace.models.tokenizer.Vocabularies.Merge;
import java.io.StringWriter;
import java.util.List;
import java.util.Map;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;

/**
 * A {@code tokenizer.json} to be: what a checkpoint without one says about its tokenizer.
 *
 * @param normalizer JSON text of the component, or {@code null}; so are the other three
 */
record TokenizerSpec(
        Model model,
        List<AddedToken> addedTokens,
        String normalizer,
        String preTokenizer,
        String postProcessor,
        String decoder) {

    /** How a piece of text becomes tokens. */
    sealed interface Model {
        Map<String, Integer> vocabulary();
    }

    /**
     * Byte-pair encoding.
     *
     * @param unknown the token for unknown text, or {@code null}: byte-level vocabularies know
     *     every byte
     * @param byteFallback whether unknown characters become tokens such as {@code <0x0A>}
     * @param ignoreMerges whether a whole piece that is a token stays one, whatever the merges say
     */
    record Bpe(
            Map<String, Integer> vocabulary,
            List<Merge> merges,
            String unknown,
            boolean byteFallback,
            boolean ignoreMerges)
            implements Model {}

    /** BERT's longest-match-first pieces; those inside a word begin with {@code ##}. */
    record WordPiece(Map<String, Integer> vocabulary, String unknown) implements Model {}

    int vocabularySize() {
        int largest = -1;
        for (int id : model.vocabulary().values()) {
            largest = Math.max(largest, id);
        }
        for (AddedToken token : addedTokens) {
            largest = Math.max(largest, token.id());
        }
        return largest + 1;
    }

    String toJson() {
        StringWriter text = new StringWriter();
        try (JsonGenerator json = Json.FACTORY.createGenerator(ObjectWriteContext.empty(), text)) {
            json.writeStartObject();
            json.writeStringProperty("version", "1.0");
            json.writeName("added_tokens");
            json.writeStartArray();
            for (AddedToken token : addedTokens) {
                json.writeStartObject();
                json.writeNumberProperty("id", token.id());
                json.writeStringProperty("content", token.text());
                for (String flag : new String[] {"single_word", "lstrip", "rstrip", "normalized"}) {
                    json.writeBooleanProperty(flag, false);
                }
                json.writeBooleanProperty("special", token.special());
                json.writeEndObject();
            }
            json.writeEndArray();
            component(json, "normalizer", normalizer);
            component(json, "pre_tokenizer", preTokenizer);
            component(json, "post_processor", postProcessor);
            component(json, "decoder", decoder);
            json.writeName("model");
            json.writeStartObject();
            switch (model) {
                case Bpe bpe -> bpe(json, bpe);
                case WordPiece pieces -> {
                    json.writeStringProperty("type", "WordPiece");
                    json.writeStringProperty("unk_token", pieces.unknown());
                    json.writeStringProperty("continuing_subword_prefix", "##");
                    json.writeNumberProperty("max_input_chars_per_word", 100);
                }
            }
            json.writeName("vocab");
            json.writeStartObject();
            model.vocabulary().forEach(json::writeNumberProperty);
            json.writeEndObject();
            json.writeEndObject();
            json.writeEndObject();
        }
        return text.toString();
    }

    private static void bpe(JsonGenerator json, Bpe bpe) {
        json.writeStringProperty("type", "BPE");
        json.writeStringProperty("unk_token", bpe.unknown());
        json.writeBooleanProperty("fuse_unk", bpe.unknown() != null);
        json.writeBooleanProperty("byte_fallback", bpe.byteFallback());
        json.writeBooleanProperty("ignore_merges", bpe.ignoreMerges());
        json.writeName("merges");
        json.writeStartArray();
        for (Merge merge : bpe.merges()) {
            json.writeStartArray();
            json.writeString(merge.left());
            json.writeString(merge.right());
            json.writeEndArray();
        }
        json.writeEndArray();
    }

    private static void component(JsonGenerator json, String name, String value) {
        json.writeName(name);
        json.writeRawValue(value == null ? "null" : value);
    }
}
