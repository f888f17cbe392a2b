package dev.millrace.models.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.knuddels.jtokkit.Encodings;
import com.knuddels.jtokkit.api.Encoding;
import com.knuddels.jtokkit.api.EncodingType;
import com.knuddels.jtokkit.api.IntArrayList;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class TokenizerTest {
    static final String EMBEDDED =
            "/dev/millrace/models/embedded/millrace-classics-8m/tokenizer.json";

    private static byte[] json;
    private static Tokenizer embedded;

    @BeforeAll
    static void open() throws IOException {
        json = resource(EMBEDDED);
        embedded = Tokenizers.ofBundledJson(json, "embedded tokenizer");
    }

    @AfterAll
    static void close() {
        embedded.close();
    }

    static byte[] resource(String name) throws IOException {
        try (InputStream in = TokenizerTest.class.getResourceAsStream(name)) {
            return in.readAllBytes();
        }
    }

    @Test
    void textComesBackFromItsIds() {
        long seed = ThreadLocalRandom.current().nextLong();
        for (String text : RandomText.many(seed, 500)) {
            assertThat(embedded.decode(embedded.encode(text, false), false))
                    .as("seed %d", seed)
                    .isEqualTo(text);
        }
    }

    @Test
    void aLongTextIsNotTruncated() {
        String text = "word and another word. ".repeat(5_000);
        assertThat(embedded.encode(text, true)).hasSizeGreaterThan(20_000);
        assertThat(embedded.decode(embedded.encode(text, false), false)).isEqualTo(text);
    }

    @Test
    void specialTokensAreFoundInTextAndLeftOutOnRequest() {
        int[] ids = embedded.encode("one<|endoftext|>two", false);
        assertThat(ids).contains(0);
        assertThat(embedded.decode(ids, false)).isEqualTo("one<|endoftext|>two");
        assertThat(embedded.decode(ids, true)).isEqualTo("onetwo");
        assertThat(embedded.tokenId("<|endoftext|>")).hasValue(0);
        assertThat(embedded.tokenId("<|nosuchtoken|>")).isEmpty();
    }

    @Test
    void theVocabularySizeCountsAddedTokens() {
        assertThat(embedded.vocabularySize()).isEqualTo(8192);
        String more =
                new String(json, StandardCharsets.UTF_8)
                        .replaceFirst(
                                "\"added_tokens\": \\[",
                                "\"added_tokens\": [{\"id\": 8192, \"content\": \"<|x|>\", \"single_word\":"
                                        + " false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true},");
        try (Tokenizer tokenizer =
                Tokenizers.ofJson(more.getBytes(StandardCharsets.UTF_8), "changed")) {
            assertThat(tokenizer.vocabularySize()).isEqualTo(8193);
            assertThat(tokenizer.encode("a<|x|>", false)).endsWith(8192);
        }
    }

    @Test
    void anUnpairedSurrogateSpoilsNothingElse() {
        int[] ids = embedded.encode("x\ud800y\ud83d\ude00z\udc00", false);
        assertThat(embedded.decode(ids, false)).isEqualTo("x\ufffdy\ud83d\ude00z\ufffd");
    }

    @Test
    void idsOutsideTheVocabularyHaveNoText() {
        assertThat(embedded.decode(new int[] {8192, Integer.MAX_VALUE}, false)).isEmpty();
        assertThatThrownBy(() -> embedded.decode(new int[] {-1}, false))
                .hasMessageContaining("-1 is no token id");
    }

    @Test
    void vocabJsonWithMergesTxtEqualsTokenizerJson(@TempDir Path directory) throws IOException {
        writeVocabulary(directory);
        long seed = ThreadLocalRandom.current().nextLong();
        try (Tokenizer two = Tokenizers.ofDirectory(directory)) {
            assertThat(two.vocabularySize()).isEqualTo(8192);
            for (String text : RandomText.many(seed, 300)) {
                assertThat(two.encode(text, false))
                        .as("seed %d, text %s", seed, text)
                        .isEqualTo(embedded.encode(text, false));
            }
            assertThat(two.encode("a<|endoftext|>", false))
                    .isEqualTo(embedded.encode("a<|endoftext|>", false));
        }
    }

    @Test
    void ggufMetadataEqualsTokenizerJson() {
        JsonNode model = JsonMapper.shared().readTree(json).get("model");
        String[] tokens = new String[8192];
        model.get("vocab")
                .properties()
                .forEach(entry -> tokens[entry.getValue().asInt()] = entry.getKey());
        List<String> merges = new ArrayList<>();
        model.get("merges")
                .forEach(merge ->
                        merges.add(merge.get(0).asString() + " " + merge.get(1).asString()));
        int[] types = new int[8192];
        java.util.Arrays.fill(types, 1);
        types[0] = 3;
        Map<String, Object> metadata =
                new HashMap<>(
                        Map.of(
                                "tokenizer.ggml.model",
                                "gpt2",
                                "tokenizer.ggml.pre",
                                "gpt-2",
                                "tokenizer.ggml.tokens",
                                tokens,
                                "tokenizer.ggml.token_type",
                                types,
                                "tokenizer.ggml.merges",
                                merges,
                                "tokenizer.ggml.bos_token_id",
                                0L));
        long seed = ThreadLocalRandom.current().nextLong();
        try (Tokenizer gguf = Tokenizers.ofGguf(metadata, "x.gguf")) {
            for (String text : RandomText.many(seed, 300)) {
                assertThat(gguf.encode(text, true))
                        .as("seed %d, text %s", seed, text)
                        .isEqualTo(embedded.encode(text, false));
            }
        }
        metadata.put("tokenizer.ggml.add_bos_token", true);
        try (Tokenizer gguf = Tokenizers.ofGguf(metadata, "x.gguf")) {
            assertThat(gguf.encode("a", true)).startsWith(0).hasSize(2);
            assertThat(gguf.encode("a", false)).hasSize(1);
        }
        metadata.put("tokenizer.ggml.pre", "martian");
        assertThatThrownBy(() -> Tokenizers.ofGguf(metadata, "x.gguf"))
                .hasMessageContaining(
                        "x.gguf: metadata tokenizer.ggml.pre: \"martian\" is not supported");
    }

    /**
     * GPT-2's merges follow from the ranks of its tokens: a token's last merge is where its own
     * rank's BPE ends.
     */
    @Test
    void gpt2BytePairEncodingEqualsAnIndependentOne(@TempDir Path directory) throws IOException {
        Encoding oracle = Encodings.newLazyEncodingRegistry().getEncoding(EncodingType.R50K_BASE);
        Map<String, Integer> ranks = new LinkedHashMap<>();
        List<byte[]> bytes = new ArrayList<>();
        for (int id = 0; id < 50256; id++) {
            byte[] token = oracle.decodeBytes(of(id));
            bytes.add(token);
            ranks.put(new String(token, StandardCharsets.ISO_8859_1), id);
        }
        StringBuilder merges = new StringBuilder("#version: 0.2\n");
        Map<String, Integer> vocabulary = new LinkedHashMap<>();
        for (int id = 0; id < 50256; id++) {
            String token = new String(bytes.get(id), StandardCharsets.ISO_8859_1);
            vocabulary.put(ByteLetters.spell(token), id);
            if (token.length() > 1) {
                String[] parts = ByteLetters.lastMerge(token, ranks, id);
                merges.append(ByteLetters.spell(parts[0]))
                        .append(' ')
                        .append(ByteLetters.spell(parts[1]))
                        .append('\n');
            }
        }
        vocabulary.put("<|endoftext|>", 50256);
        Files.writeString(
                directory.resolve("vocab.json"),
                JsonMapper.shared().writeValueAsString(vocabulary));
        Files.writeString(directory.resolve("merges.txt"), merges);
        long seed = ThreadLocalRandom.current().nextLong();
        try (Tokenizer tokenizer = Tokenizers.ofDirectory(directory)) {
            assertThat(tokenizer.vocabularySize()).isEqualTo(50257);
            assertThat(tokenizer.encode("Hello world", false)).containsExactly(15496, 995);
            for (String text : RandomText.many(seed, 2_000)) {
                assertThat(tokenizer.encode(text, false))
                        .as("seed %d, text %s", seed, text)
                        .isEqualTo(oracle.encodeOrdinary(text).toArray());
            }
        }
    }

    @Test
    void tokenizersOpenAndWorkOnManyThreadsAtOnce() {
        int[] expected = embedded.encode("Once upon a time", false);
        List<CompletableFuture<int[]>> runs = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            runs.add(
                    CompletableFuture.supplyAsync(() -> {
                        try (Tokenizer own = Tokenizers.ofBundledJson(json, "own")) {
                            own.encode("Once upon a time", false);
                            return embedded.encode("Once upon a time", false);
                        }
                    }));
        }
        assertThat(runs).allSatisfy(run -> assertThat(run.join()).isEqualTo(expected));
    }

    @Test
    void aClosedTokenizerRefusesToWork() {
        Tokenizer tokenizer = Tokenizers.ofBundledJson(json, "shortlived");
        tokenizer.close();
        tokenizer.close();
        assertThatThrownBy(() -> tokenizer.encode("a", false))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("shortlived");
    }

    static void writeVocabulary(Path directory) throws IOException {
        JsonNode model = JsonMapper.shared().readTree(json).get("model");
        Files.writeString(directory.resolve("vocab.json"), model.get("vocab").toString());
        StringBuilder merges = new StringBuilder("#version: 0.2\n");
        model.get("merges")
                .forEach(m ->
                        merges.append(m.get(0).asString())
                                .append(' ')
                                .append(m.get(1).asString())
                                .append('\n'));
        Files.writeString(directory.resolve("merges.txt"), merges);
    }

    private static IntArrayList of(int id) {
        IntArrayList list = new IntArrayList(1);
        list.add(id);
        return list;
    }
}
