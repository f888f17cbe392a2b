package dev.millrace.models.tokenizer;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * The ways in which byte-level BPE families cut text into pieces before merging, under the names
 * that GGUF files use for them ({@code tokenizer.ggml.pre}). The patterns are those of the
 * families' published {@code tokenizer.json} files.
 */
enum PreTokenizer {
    GPT2(
            false,
            null,
            byteLevel(true),
            "gpt-2",
            "phi-2",
            "olmo",
            "mpt",
            "roberta-bpe",
            "jina-v2-es",
            "jina-v2-de"),
    DIGITS(
            false,
            null,
            "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},"
                    + byteLevel(true)
                    + "]}",
            "smollm",
            "starcoder",
            "refact",
            "command-r"),
    LLAMA3(
            true,
            null,
            split(
                    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                            + "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "pixtral",
            "lfm2"),
    QWEN2(
            false,
            "{\"type\":\"NFC\"}",
            split(
                    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                            + "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
            "qwen2",
            "deepseek-r1-qwen",
            "stablelm2"),
    TEKKEN(
            true,
            null,
            split(
                    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
                            + "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
                            + "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
            "tekken"),
    /** What llama.cpp does where the converter knew no better. */
    DEFAULT(
            false,
            null,
            split(
                    "[\\p{P}\\$\\+<=>\\^~\\|]+",
                    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
                    "\\p{N}+",
                    "[0-9][0-9][0-9]"),
            "default");

    /** Whether a whole piece that is a token stays one. */
    final boolean ignoreMerges;

    /** The normalizer that goes with it, or null. */
    final String normalizer;

    final String json;
    private final List<String> names;

    PreTokenizer(boolean ignoreMerges, String normalizer, String json, String... names) {
        this.ignoreMerges = ignoreMerges;
        this.normalizer = normalizer;
        this.json = json;
        this.names = List.of(names);
    }

    static Optional<PreTokenizer> named(String name) {
        return Arrays.stream(values()).filter(p -> p.names.contains(name)).findFirst();
    }

    /** The name that GGUF files are written with. */
    String ggufName() {
        return names.getFirst();
    }

    static List<String> known() {
        return Arrays.stream(values()).flatMap(p -> p.names.stream()).toList();
    }

    private static String byteLevel(boolean gpt2Pattern) {
        return "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":"
                + gpt2Pattern
                + "}";
    }

    /** Cuts by each pattern in turn, then spells the bytes. */
    private static String split(String... patterns) {
        StringBuilder json = new StringBuilder("{\"type\":\"Sequence\",\"pretokenizers\":[");
        for (String pattern : patterns) {
            json.append("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"")
                    .append(pattern.replace("\\", "\\\\"))
                    .append("\"},\"behavior\":\"Isolated\",\"invert\":false},");
        }
        return json.append(byteLevel(false)).append("]}").toString();
    }
}
