package dev.millrace.models.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.models.checkpoint.GgufCheckpoint;
import dev.millrace.models.checkpoint.GgufMetadata;
import dev.millrace.models.checkpoint.GgufWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;

/** A tokenizer.json written as GGUF metadata, and read from there. */
class GgufTokenizerTest {
    @TempDir Path temp;

    @Test
    void sentencePieceKeepsItsIdsByTheScoresMadeOfItsMerges() throws IOException {
        JsonNode golden = OtherVocabulariesTest.golden();
        Map<String, Object> original = OtherVocabulariesTest.sentencePiece(golden);
        Files.writeString(
                temp.resolve("tokenizer.json"), GgufVocabulary.spec(original, "x.gguf").toJson());
        int size = golden.get("tokens").size();
        GgufWriter writer = new GgufWriter().u32("tokenizer.ggml.bos_token_id", 1);
        GgufTokenizer.write(temp, size, writer);
        try (GgufCheckpoint file = written(writer);
                Tokenizer tokenizer = Tokenizers.ofGguf(file.metadata().plain(), "x.gguf")) {
            assertThat(file.metadata().string("tokenizer.ggml.model")).isEqualTo("llama");
            assertThat(file.metadata().findFlag("tokenizer.ggml.add_bos_token")).contains(true);
            assertThat(file.metadata().findFlag("tokenizer.ggml.add_space_prefix")).contains(true);
            for (JsonNode text : golden.get("texts")) {
                int[] ids = text.get("ids").valueStream().mapToInt(JsonNode::intValue).toArray();
                assertThat(tokenizer.encode(text.get("text").stringValue(), false))
                        .as(text.get("text").toString())
                        .isEqualTo(ids);
            }
            assertThat(tokenizer.encode("a", true)).startsWith(1);
        }
    }

    @ParameterizedTest
    @EnumSource
    void everyKnownWayToCutTextHasItsName(PreTokenizer cut) throws IOException {
        json(cut.json, "\"a b\"");
        GgufWriter writer = new GgufWriter();
        GgufTokenizer.write(temp, 5, writer);
        try (GgufCheckpoint file = written(writer)) {
            GgufMetadata metadata = file.metadata();
            assertThat(PreTokenizer.named(metadata.string("tokenizer.ggml.pre"))).contains(cut);
            assertThat(metadata.findStrings("tokenizer.ggml.tokens").orElseThrow())
                    .containsExactly("a", "b", "ab", "<end>", "[PAD4]");
            assertThat(metadata.findIntegers("tokenizer.ggml.token_type").orElseThrow())
                    .containsExactly(1, 1, 1, 3, 5);
            assertThat(metadata.findStrings("tokenizer.ggml.merges").orElseThrow())
                    .containsExactly("a b");
        }
    }

    @Test
    void theChatTemplateComesAlong() throws IOException {
        json(PreTokenizer.GPT2.json, "[\"a\", \"b\"]");
        assertTemplate(null);
        Files.writeString(
                temp.resolve("tokenizer_config.json"),
                "{\"chat_template\": [{\"name\": \"tool\", \"template\": \"t\"},"
                        + " {\"name\": \"default\", \"template\": \"d\"}]}");
        assertTemplate("d");
        Files.writeString(temp.resolve("tokenizer_config.json"), "{\"chat_template\": \"one\"}");
        assertTemplate("one");
        Files.writeString(temp.resolve("chat_template.jinja"), "two");
        assertTemplate("two");
    }

    private void assertTemplate(String expected) throws IOException {
        GgufWriter writer = new GgufWriter();
        GgufTokenizer.write(temp, 4, writer);
        try (GgufCheckpoint file = written(writer)) {
            assertThat(file.metadata().findString("tokenizer.chat_template").orElse(null))
                    .isEqualTo(expected);
        }
    }

    @Test
    void whatGgufCannotSayIsRefused() throws IOException {
        refused("no tokenizer.json");
        json("{\"type\": \"Whitespace\"}", "\"a b\"");
        refused("pre_tokenizer cuts text in a way that GGUF has no name for");
        json(PreTokenizer.GPT2.json, "\"a b c\"");
        refused("is no pair of tokens");
        Files.writeString(
                temp.resolve("tokenizer.json"),
                "{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}}}");
        refused("a tokenizer of type WordPiece is not written to GGUF");
        json(PreTokenizer.GPT2.json, "\"a b\"");
        assertThatThrownBy(() -> GgufTokenizer.write(temp, 3, new GgufWriter()))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("\"<end>\" has id 3, the model knows ids below 3");
    }

    private void refused(String message) {
        assertThatThrownBy(() -> GgufTokenizer.write(temp, 4, new GgufWriter()))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining(message);
    }

    private void json(String cut, String merge) throws IOException {
        Files.writeString(
                temp.resolve("tokenizer.json"),
                "{\"added_tokens\": [{\"id\": 3, \"content\": \"<end>\", \"special\": true}],"
                        + "\"pre_tokenizer\": "
                        + cut
                        + ", \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": ["
                        + merge
                        + "]}}");
    }

    private GgufCheckpoint written(GgufWriter writer) {
        Path file = temp.resolve("tokenizer.gguf");
        writer.write(file);
        return GgufCheckpoint.open(file);
    }
}
