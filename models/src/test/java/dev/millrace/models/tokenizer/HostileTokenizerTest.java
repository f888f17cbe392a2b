package dev.millrace.models.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Files that are wrong, or mean harm: one line that names file and field. Several of these abort
 * the native library.
 */
class HostileTokenizerTest {
    private static final String VOCAB = "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}";
    private static final String MODEL =
            "\"model\":{\"type\":\"BPE\"," + VOCAB + ",\"merges\":[\"a b\"]}";

    private static Arguments with(String part, String... message) {
        return Arguments.of("{\"version\":\"1.0\"," + MODEL + "," + part + "}", message);
    }

    private static Arguments model(String model, String... message) {
        return Arguments.of("{\"model\":" + model + "}", message);
    }

    private static String precompiled(byte... bytes) {
        return "\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\""
                + Base64.getEncoder().encodeToString(bytes)
                + "\"}";
    }

    private static byte[] trie(int unit, int bytes) {
        byte[] map = new byte[4 + bytes];
        map[1] = 4;
        map[4] = (byte) unit;
        map[5] = (byte) (unit >> 8);
        map[6] = (byte) (unit >> 16);
        map[7] = (byte) (unit >> 24);
        return map;
    }

    private static String template(String single, String specials) {
        return "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
                + single
                + "],\"pair\":[],\"special_tokens\":{"
                + specials
                + "}}";
    }

    static Stream<Arguments> wrong() {
        String text = "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}";
        String special = "{\"SpecialToken\":{\"id\":\"X\",\"type_id\":0}}";
        return Stream.of(
                Arguments.of("", new String[] {"(document)", "found nothing"}),
                Arguments.of("[]", new String[] {"(document)", "an object"}),
                Arguments.of("{", new String[] {"not readable as JSON", "line 1"}),
                Arguments.of("{}", new String[] {"model.vocab", "is missing"}),
                Arguments.of("\u0000\u0001binary", new String[] {"not readable as JSON"}),
                Arguments.of("{" + MODEL, new String[] {"not readable as JSON"}),
                Arguments.of("{" + MODEL.substring(0, 60), new String[] {"not readable as JSON"}),
                Arguments.of("[".repeat(100_000), new String[] {"(document)"}),
                Arguments.of(
                        "{\"model\":" + "{\"a\":".repeat(100_000),
                        new String[] {"not readable as JSON", "nesting"}),
                Arguments.of(
                        "{\"x\":" + "[".repeat(100_000),
                        new String[] {"not readable as JSON", "nesting"}),
                Arguments.of(
                        "{\"model\":5}",
                        new String[] {"field model: should be an object, found a whole number"}),
                model("{\"type\":\"BPE\"}", "model.vocab", "is missing"),
                model("{" + VOCAB + "}", "model.type", "is missing"),
                model("{\"type\":\"Magic\"," + VOCAB + "}", "model.type", "Magic is not known"),
                model("{\"type\":7," + VOCAB + "}", "model.type", "a string"),
                model(
                        "{\"type\":\"BPE\",\"vocab\":{\"a\":\"0\"},\"merges\":[]}",
                        "model.vocab[\"a\"]",
                        "a whole number"),
                model(
                        "{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}",
                        "model.vocab[\"a\"]",
                        "-1 is no token id"),
                model(
                        "{\"type\":\"BPE\",\"vocab\":{\"a\":4294967295},\"merges\":[]}",
                        "model.vocab[\"a\"]",
                        "no token id"),
                model(
                        "{\"type\":\"BPE\",\"vocab\":{\"a\":99999999999999999999},\"merges\":[]}",
                        "too large"),
                model(
                        "{\"type\":\"BPE\",\"vocab\":{\"a\":1e9},\"merges\":[]}",
                        "model.vocab[\"a\"]",
                        "a whole number"),
                model(
                        "{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"a\":2},\"merges\":[]}",
                        "not readable as JSON",
                        "Duplicate"),
                model(
                        "{\"type\":\"BPE\",\"vocab\":[1,2],\"merges\":[]}",
                        "model.vocab[0]",
                        "a list"),
                model(
                        "{\"type\":\"Unigram\",\"vocab\":[[\"a\",\"b\"]]}",
                        "model.vocab[0][1]",
                        "a score"),
                model(
                        "{\"type\":\"Unigram\",\"unk_id\":7,\"vocab\":[[\"a\",0.5]]}",
                        "cannot be built"),
                model("{\"type\":\"BPE\"," + VOCAB + ",\"merges\":[\"a\"]}", "cannot be built"),
                model("{\"type\":\"BPE\"," + VOCAB + ",\"merges\":[[\"a\"]]}", "model.merges[0]"),
                model(
                        "{\"type\":\"BPE\"," + VOCAB + ",\"merges\":[[\"a\",\"zz\"]]}",
                        "cannot be built",
                        "zz"),
                model("{\"type\":\"BPE\"," + VOCAB + ",\"merges\":7}", "model.merges", "a list"),
                model(
                        "{\"type\":\"BPE\","
                                + VOCAB
                                + ",\"merges\":[\"a b\"],\"continuing_subword_prefix\":\"ééé\"}",
                        "continuing_subword_prefix"),
                with(
                        "\"added_tokens\":[{\"id\":-5,\"content\":\"x\"}]",
                        "added_tokens[0].id",
                        "-5"),
                with("\"added_tokens\":[{\"id\":5}]", "added_tokens[0].content"),
                with("\"added_tokens\":[7]", "added_tokens[0]", "an object"),
                with("\"added_tokens\":{}", "added_tokens", "a list"),
                with(
                        "\"normalizer\":{\"type\":\"Virus\"}",
                        "normalizer.type",
                        "Virus is not supported"),
                with("\"normalizer\":{}", "normalizer.type", "should be a string"),
                with("\"normalizer\":[]", "normalizer", "an object"),
                with(
                        "\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"\"}",
                        "normalizer.prepend",
                        "is empty"),
                with(
                        "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Prepend\",\"prepend\":\"\"}]}",
                        "normalizer.normalizers[1].prepend"),
                with(
                        "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"x\"}",
                        "normalizer.pattern.String",
                        "is empty"),
                with(
                        "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x*\"},\"content\":\"y\"}",
                        "normalizer.pattern.Regex",
                        "matches nothing"),
                with(
                        "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(\"},\"content\":\"y\"}",
                        "normalizer.pattern.Regex",
                        "no regular expression"),
                with(precompiled((byte) 8, (byte) 0), "precompiled_charsmap", "no whole trie"),
                with(precompiled(new byte[2000]), "precompiled_charsmap", "no whole trie"),
                with(
                        precompiled(trie(0x7FFFFC00, 1024)),
                        "precompiled_charsmap",
                        "unit 0 points outside"),
                with(
                        precompiled(trie(0x100, 1024)),
                        "precompiled_charsmap",
                        "points at no replacement"),
                with(
                        "\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"!\"}",
                        "no base64"),
                with(
                        "\"pre_tokenizer\":{\"type\":\"FixedLength\",\"length\":0}",
                        "pre_tokenizer.type",
                        "FixedLength"),
                with(
                        "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\",\"invert\":false}",
                        "cannot be built"),
                with(
                        template(special + "," + text, ""),
                        "single[0].SpecialToken.id",
                        "X is not among"),
                with(
                        template(
                                text + "," + special,
                                "\"X\":{\"id\":\"X\",\"ids\":[1,2],\"tokens\":[\"a\"]}"),
                        "2 ids"),
                with(
                        template("{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}", ""),
                        "single[0].Sequence.id",
                        "B is not"),
                with(template("", ""), "single", "0 times"),
                with(
                        "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"s\",4294967295],\"cls\":[\"c\",1]}",
                        "post_processor.sep[1]",
                        "4294967295"),
                with(
                        "\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":0,\"stop\":1}",
                        "decoder.stop",
                        "only 0"),
                with(
                        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":7}",
                        "decoder.decoders",
                        "a list"));
    }

    @ParameterizedTest
    @MethodSource("wrong")
    void aWrongTokenizerJsonIsRefusedInOneLineThatNamesFileAndField(
            String json, String[] message, @TempDir Path folder) throws IOException {
        Path file = folder.resolve("tokenizer.json");
        Files.writeString(file, json);
        assertThatThrownBy(() -> Tokenizers.ofDirectory(folder))
                .isInstanceOf(MillraceException.class)
                .hasMessageStartingWith(file.toString())
                .hasMessageNotContaining("\n")
                .hasMessageContainingAll(message);
    }

    @Test
    void everyTruncationOfATokenizerJsonIsRefused(@TempDir Path folder) throws IOException {
        byte[] whole = TokenizerTest.resource(TokenizerTest.EMBEDDED);
        long seed = ThreadLocalRandom.current().nextLong();
        for (int length : new Random(seed).ints(60, 0, whole.length - 2).toArray()) {
            assertThatThrownBy(() -> Tokenizers.ofJson(Arrays.copyOf(whole, length), "cut.json"))
                    .as("seed %d, length %d", seed, length)
                    .isInstanceOf(MillraceException.class)
                    .hasMessageStartingWith("cut.json: ");
        }
    }

    /**
     * Random bytes changed in a small tokenizer.json: it opens and works, or is refused; the
     * process lives on.
     */
    @Test
    void randomChangesAreRefusedOrHarmless() {
        String small =
                "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,"
                        + "\"rstrip\":false,\"normalized\":false,\"special\":true}],"
                        + "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"a\"},"
                        + "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"b\"},{\"type\":\"NFC\"}]},"
                        + "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"b+|a+\"},\"behavior\":\"Isolated\",\"invert\":false},"
                        + template(
                                "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}",
                                "\"<s>\":{\"id\":\"<s>\",\"ids\":[3],\"tokens\":[\"<s>\"]}")
                        + ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
                        + "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
                        + MODEL
                        + "}";
        long seed = ThreadLocalRandom.current().nextLong();
        Random random = new Random(seed);
        int opened = 0;
        int refused = 0;
        for (int round = 0; round < 6_000; round++) {
            byte[] bytes = small.getBytes(StandardCharsets.UTF_8);
            for (int n = 1 + random.nextInt(3); n > 0; n--) {
                int at = random.nextInt(bytes.length);
                bytes[at] =
                        random.nextInt(3) == 0
                                ? (byte) random.nextInt(128)
                                : bytes[random.nextInt(bytes.length)];
            }
            try (Tokenizer tokenizer = Tokenizers.ofJson(bytes, "changed.json")) {
                int[] ids = tokenizer.encode("ab ba  aab<s>x é", true);
                tokenizer.decode(ids, false);
                opened++;
            } catch (MillraceException e) {
                assertThat(e.getMessage())
                        .as("seed %d, round %d", seed, round)
                        .startsWith("changed.json: ");
                refused++;
            }
        }
        assertThat(opened).as("seed %d", seed).isGreaterThan(100);
        assertThat(refused).as("seed %d", seed).isGreaterThan(1_000);
    }

    @Test
    void otherFilesAreCheckedToo(@TempDir Path folder) throws IOException {
        assertThatThrownBy(() -> Tokenizers.ofDirectory(folder))
                .hasMessageContaining("no tokenizer in it");
        Path vocab = folder.resolve("vocab.json");
        Path merges = folder.resolve("merges.txt");
        Files.writeString(vocab, "{\"Ġ\":0,\"a\":1}");
        Files.writeString(merges, "#version: 0.2\nĠ a\nbroken\n");
        assertThatThrownBy(() -> Tokenizers.ofDirectory(folder))
                .hasMessageContaining("merges.txt: line 3 should be a merge");
        Files.writeString(merges, "Ġ a\n");
        assertThatThrownBy(() -> Tokenizers.ofDirectory(folder))
                .hasMessageContaining("cannot be built");
        Files.write(merges, new byte[] {(byte) 0xFF, (byte) 0xFE, 0});
        assertThatThrownBy(() -> Tokenizers.ofDirectory(folder))
                .hasMessageContaining("merges.txt: is no UTF-8 text");
        Files.writeString(vocab, "{\"a\":{}}");
        assertThatThrownBy(() -> Tokenizers.ofDirectory(folder))
                .hasMessageContaining("vocab.json: field (document)[\"a\"]");
        Files.delete(vocab);
        Files.writeString(folder.resolve("vocab.txt"), "[UNK]\n[CLS]\na\na\n");
        assertThatThrownBy(() -> Tokenizers.ofDirectory(folder))
                .hasMessageContaining("vocab.txt: line 4 repeats the token \"a\"");
        Files.writeString(folder.resolve("vocab.txt"), "[UNK]\n[CLS]\na\n");
        assertThatThrownBy(() -> Tokenizers.ofDirectory(folder))
                .hasMessageContaining("no [SEP] token");
    }

    @Test
    void ggufMetadataIsCheckedToo() {
        Map<String, Object> metadata = new HashMap<>();
        assertGguf(metadata, "tokenizer.ggml.model is missing");
        metadata.put("tokenizer.ggml.model", "rwkv");
        assertGguf(metadata, "tokens: is missing");
        metadata.put("tokenizer.ggml.tokens", List.of("Ġ", 5));
        assertGguf(metadata, "tokens: entry 1 is no string");
        metadata.put("tokenizer.ggml.tokens", List.of("a", "b", "a"));
        assertGguf(metadata, "tokens: entry 2 repeats entry 0");
        metadata.put("tokenizer.ggml.tokens", List.of("a", "b", "c"));
        assertGguf(metadata, "\"rwkv\" is not supported");
        metadata.put("tokenizer.ggml.model", "gpt2");
        metadata.put("general.architecture", "llama");
        assertGguf(metadata, "pre: is missing");
        metadata.remove("general.architecture");
        assertGguf(metadata, "merges: is missing");
        metadata.put("tokenizer.ggml.merges", List.of("ab"));
        assertGguf(metadata, "merges entry 0 should be a merge");
        metadata.put("tokenizer.ggml.merges", List.of());
        metadata.put("tokenizer.ggml.token_type", new long[] {1});
        assertGguf(metadata, "token_type: has 1 entries for 3 tokens");
        metadata.remove("tokenizer.ggml.token_type");
        metadata.put("tokenizer.ggml.add_bos_token", true);
        assertGguf(metadata, "bos_token_id: should be a number, found null");
        metadata.put("tokenizer.ggml.bos_token_id", 3L);
        assertGguf(metadata, "bos_token_id: 3 is outside the vocabulary of 3 tokens");
        metadata.put("tokenizer.ggml.add_bos_token", "yes");
        assertGguf(metadata, "add_bos_token: should be true or false");
    }

    private static void assertGguf(Map<String, Object> metadata, String message) {
        assertThatThrownBy(() -> Tokenizers.ofGguf(metadata, "x.gguf"))
                .isInstanceOf(MillraceException.class)
                .hasMessageStartingWith("x.gguf: metadata tokenizer.ggml.")
                .hasMessageContaining(message);
    }
}
