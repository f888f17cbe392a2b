package dev.millrace.models.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** SentencePiece, WordPiece and RoBERTa vocabularies. */
class OtherVocabulariesTest {
    static Map<String, Object> sentencePiece(JsonNode golden) {
        Map<String, Object> metadata = new HashMap<>();
        metadata.put("tokenizer.ggml.model", "llama");
        metadata.put(
                "tokenizer.ggml.tokens",
                golden.get("tokens")
                        .valueStream()
                        .map(JsonNode::stringValue)
                        .toArray(String[]::new));
        List<Float> scores = golden.get("scores").valueStream().map(JsonNode::floatValue).toList();
        float[] array = new float[scores.size()];
        for (int i = 0; i < array.length; i++) {
            array[i] = scores.get(i);
        }
        metadata.put("tokenizer.ggml.scores", array);
        metadata.put(
                "tokenizer.ggml.token_type",
                golden.get("token_type").valueStream().mapToInt(JsonNode::intValue).toArray());
        metadata.put("tokenizer.ggml.bos_token_id", 1L);
        metadata.put("tokenizer.ggml.eos_token_id", 2L);
        return metadata;
    }

    static JsonNode golden() throws IOException {
        return JsonMapper.shared()
                .readTree(
                        TokenizerTest.resource(
                                "/dev/millrace/models/tokenizer/sentencepiece-golden.json"));
    }

    /** Ids made by the sentencepiece library (src/test/python/sentencepiece_goldens.py). */
    @Test
    void scoresAndByteFallbackGiveTheIdsOfSentencePiece() throws IOException {
        JsonNode golden = golden();
        try (Tokenizer tokenizer = Tokenizers.ofGguf(sentencePiece(golden), "x.gguf")) {
            for (JsonNode text : golden.get("texts")) {
                int[] expected =
                        text.get("ids").valueStream().mapToInt(JsonNode::intValue).toArray();
                assertThat(tokenizer.encode(text.get("text").stringValue(), false))
                        .as(text.get("text").toString())
                        .isEqualTo(expected);
                assertThat(tokenizer.decode(expected, true))
                        .isEqualTo(text.get("decoded").stringValue());
            }
            assertThat(tokenizer.encode("a", true)).startsWith(1);
            int user = tokenizer.tokenId("<|user|>").orElseThrow();
            assertThat(tokenizer.encode("<|user|>a", false)).startsWith(user);
            assertThat(tokenizer.decode(new int[] {1, user, 2}, true)).isEqualTo("<|user|>");
        }
    }

    @Test
    void sentencePieceStreamsWithItsSpaces() throws IOException {
        JsonNode golden = golden();
        try (Tokenizer tokenizer = Tokenizers.ofGguf(sentencePiece(golden), "x.gguf")) {
            for (JsonNode text : golden.get("texts")) {
                StreamDecoder stream = tokenizer.stream();
                StringBuilder joined = new StringBuilder();
                text.get("ids").forEach(id -> joined.append(stream.push(id.intValue())));
                assertThat(joined.append(stream.finish()))
                        .hasToString(text.get("decoded").stringValue());
            }
        }
    }

    @Test
    void sentencePieceWithoutScoresIsRefused() throws IOException {
        Map<String, Object> metadata = sentencePiece(golden());
        metadata.put("tokenizer.ggml.scores", new float[3]);
        assertThatThrownBy(() -> Tokenizers.ofGguf(metadata, "x.gguf"))
                .hasMessage(
                        "x.gguf: metadata tokenizer.ggml.scores: has 3 entries for 1200 tokens");
    }

    private static final List<String> WORDS =
            List.of(
                    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cafe", "un", "##aff",
                    "##able", ",", "中", "##s");

    /** Expected ids by hand from the WordPiece rules (Devlin et al., 2019). */
    @Test
    void wordPieceOfVocabTxtAndOfGgufAreTheSame(@TempDir Path folder) throws IOException {
        Files.write(folder.resolve("vocab.txt"), WORDS);
        String[] gguf =
                WORDS.stream()
                        .map(w ->
                                w.startsWith("##")
                                        ? w.substring(2)
                                        : w.startsWith("[") ? w : "\u2581" + w)
                        .toArray(String[]::new);
        Map<String, Object> metadata =
                Map.of("tokenizer.ggml.model", "bert", "tokenizer.ggml.tokens", gguf);
        try (Tokenizer txt = Tokenizers.ofDirectory(folder);
                Tokenizer meta = Tokenizers.ofGguf(metadata, "x.gguf")) {
            for (Tokenizer tokenizer : List.of(txt, meta)) {
                assertThat(tokenizer.encode("The café, unaffables 中!", true))
                        .containsExactly(2, 5, 6, 10, 7, 8, 9, 12, 11, 1, 3);
                assertThat(tokenizer.encode("the", false)).containsExactly(5);
                assertThat(tokenizer.encode("[MASK] the", false)).containsExactly(4, 5);
                assertThat(tokenizer.decode(new int[] {2, 5, 7, 8, 9, 10, 5, 3}, true))
                        .isEqualTo("the unaffable, the");
                assertThat(tokenizer.vocabularySize()).isEqualTo(WORDS.size());
            }
            StreamDecoder stream = txt.stream();
            assertThat(
                            stream.push(2)
                                    + stream.push(5)
                                    + stream.push(7)
                                    + stream.push(8)
                                    + stream.push(9)
                                    + stream.finish())
                    .isEqualTo("the unaffable");
        }
    }

    @Test
    void doLowerCaseOfTheConfigDecides(@TempDir Path folder) throws IOException {
        Files.write(folder.resolve("vocab.txt"), List.of("[UNK]", "[CLS]", "[SEP]", "The", "the"));
        try (Tokenizer cased = Tokenizers.ofDirectory(folder)) {
            assertThat(cased.encode("The the", false)).containsExactly(3, 4);
        }
        Files.writeString(folder.resolve("tokenizer_config.json"), "{\"do_lower_case\": true}");
        try (Tokenizer uncased = Tokenizers.ofDirectory(folder)) {
            assertThat(uncased.encode("The the", false)).containsExactly(4, 4);
        }
    }

    @Test
    void robertaPutsItsTokensRoundAText(@TempDir Path folder) throws IOException {
        TokenizerTest.open();
        TokenizerTest.writeVocabulary(folder);
        String vocab = Files.readString(folder.resolve("vocab.json"));
        Files.writeString(
                folder.resolve("vocab.json"),
                vocab.replaceFirst(
                        "\\{",
                        "{\"<s>\":9000,\"<pad>\":9001,\"</s>\":9002,\"<unk>\":9003,\"<mask>\":9004,"));
        Files.writeString(
                folder.resolve("tokenizer_config.json"),
                "{\"tokenizer_class\": \"RobertaTokenizer\"}");
        long seed = ThreadLocalRandom.current().nextLong();
        try (Tokenizer roberta = Tokenizers.ofDirectory(folder)) {
            for (String text : RandomText.many(seed, 50)) {
                assertThat(roberta.encode(text, true))
                        .as("seed %d", seed)
                        .startsWith(9000)
                        .endsWith(9002);
                assertThat(roberta.decode(roberta.encode(text, true), true))
                        .as("seed %d", seed)
                        .isEqualTo(text.replace("<s>", ""));
            }
        }
        Files.writeString(
                folder.resolve("tokenizer_config.json"),
                "{\"tokenizer_class\": \"CLIPTokenizer\"}");
        assertThatThrownBy(() -> Tokenizers.ofDirectory(folder))
                .hasMessageContaining("tokenizer_class CLIPTokenizer cannot be built");
        TokenizerTest.close();
    }
}
