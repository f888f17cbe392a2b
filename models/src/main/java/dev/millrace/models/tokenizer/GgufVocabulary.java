package dev.millrace.models.tokenizer;

import dev.millrace.core.MillraceException;
import dev.millrace.models.tokenizer.Vocabularies.Merge;
import java.lang.reflect.Array;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The tokenizer that a GGUF file describes in its {@code tokenizer.ggml.*} metadata (GGUF
 * specification, "Tokenizer"): {@code gpt2} (byte-level BPE), {@code llama} (SentencePiece BPE with
 * scores) and {@code bert} (WordPiece).
 */
final class GgufVocabulary {
    private static final int UNKNOWN = 2;
    private static final int CONTROL = 3;
    private static final int USER_DEFINED = 4;
    private static final int BYTE = 6;

    /**
     * As far as a SentencePiece token is taken apart for merges; longer ones are padding such as
     * runs of spaces.
     */
    private static final int LONGEST_PIECE = 512;

    private final Map<String, Object> metadata;
    private final String source;
    private final Map<String, Integer> vocabulary = new LinkedHashMap<>();
    private final List<String> tokens = new ArrayList<>();
    private final int[] types;

    private GgufVocabulary(Map<String, Object> metadata, String source) {
        this.metadata = metadata;
        this.source = source;
        for (Object token : list("tokens")) {
            int id = tokens.size();
            if (!(token instanceof String text)) {
                throw bad("tokens", "entry " + id + " is no string");
            }
            text = text.isEmpty() ? "[EMPTY_" + id + "]" : text;
            Integer before = vocabulary.putIfAbsent(text, id);
            if (before != null) {
                throw bad(
                        "tokens",
                        "entry " + id + " repeats entry " + before + ", \"" + text + "\"");
            }
            tokens.add(text);
        }
        if (tokens.isEmpty() || tokens.size() > TokenizerJson.MAX_ID) {
            throw bad(
                    "tokens",
                    "has "
                            + tokens.size()
                            + " entries; 1 to "
                            + TokenizerJson.MAX_ID
                            + " are possible");
        }
        types = new int[tokens.size()];
        if (metadata.containsKey(key("token_type"))) {
            List<Object> given = list("token_type", tokens.size());
            for (int id = 0; id < types.length; id++) {
                types[id] = number(given.get(id), "token_type").intValue();
            }
        }
    }

    static TokenizerSpec spec(Map<String, Object> metadata, String source) {
        if (!(metadata.get(key("model")) instanceof String kind)) {
            throw new MillraceException(
                    source
                            + ": metadata "
                            + key("model")
                            + " is missing: the file has no tokenizer; pass token ids with --ids instead of text");
        }
        GgufVocabulary gguf = new GgufVocabulary(metadata, source);
        return switch (kind) {
            case "gpt2" -> gguf.byteLevel();
            case "llama" -> gguf.sentencePiece();
            case "bert" -> gguf.wordPiece();
            default ->
                    throw gguf.bad(
                            "model", "\"" + kind + "\" is not supported; gpt2, llama and bert are");
        };
    }

    private TokenizerSpec byteLevel() {
        // Files older than the key are GPT-2's own, or of a model whose cut nobody wrote down.
        boolean gpt2 = "gpt2".equals(metadata.getOrDefault("general.architecture", "gpt2"));
        if (!gpt2 && !metadata.containsKey(key("pre"))) {
            throw bad("pre", "is missing, so how text is cut is unknown; convert the model again");
        }
        String pre = metadata.get(key("pre")) instanceof String name ? name : "gpt-2";
        PreTokenizer cut =
                PreTokenizer.named(pre)
                        .orElseThrow(() ->
                                bad(
                                        "pre",
                                        "\""
                                                + pre
                                                + "\" is not supported; "
                                                + PreTokenizer.known()
                                                + " are"));
        List<Merge> merges = new ArrayList<>();
        for (Object merge : list("merges")) {
            if (!(merge instanceof String text)) {
                throw bad("merges", "entry " + merges.size() + " is no string");
            }
            merges.add(
                    Merge.of(
                            text,
                            source + ": metadata " + key("merges") + " entry " + merges.size()));
        }
        boolean begin = flag("add_bos_token", cut.ignoreMerges);
        return Specs.byteLevel(
                vocabulary, merges, added(), cut, around(begin, flag("add_eos_token", false)));
    }

    private TokenizerSpec sentencePiece() {
        String unknown = null;
        boolean bytes = false;
        for (int id = 0; id < types.length; id++) {
            if (types[id] == UNKNOWN && unknown == null) {
                unknown = tokens.get(id);
            }
            bytes |= types[id] == BYTE;
        }
        String around = around(flag("add_bos_token", true), flag("add_eos_token", false));
        return Specs.sentencePiece(
                vocabulary,
                mergesByScore(),
                added(),
                unknown,
                bytes,
                flag("add_space_prefix", true),
                around);
    }

    /**
     * SentencePiece joins any two neighbours whose joint text is a token, the best score first. As
     * BPE merges: every way to split a token into two tokens, in the order of the scores.
     */
    private List<Merge> mergesByScore() {
        List<Object> given = list("scores", tokens.size());
        record Scored(Merge merge, float score, int left, int right) {}
        List<Scored> found = new ArrayList<>();
        for (int id = 0; id < types.length; id++) {
            String token = tokens.get(id);
            if (types[id] > 1 && types[id] != USER_DEFINED || token.length() > LONGEST_PIECE) {
                continue;
            }
            float score = number(given.get(id), "scores").floatValue();
            for (int at = 1; at < token.length(); at++) {
                Integer left = vocabulary.get(token.substring(0, at));
                Integer right = left == null ? null : vocabulary.get(token.substring(at));
                if (right != null) {
                    found.add(
                            new Scored(
                                    new Merge(token.substring(0, at), token.substring(at)),
                                    score,
                                    left,
                                    right));
                }
            }
        }
        found.sort(
                Comparator.<Scored>comparingDouble(s -> -s.score())
                        .thenComparingInt(Scored::left)
                        .thenComparingInt(Scored::right));
        return found.stream().map(Scored::merge).toList();
    }

    /**
     * GGUF marks the beginning of a word with U+2581 where BERT marks the rest of one with {@code
     * ##}.
     */
    private TokenizerSpec wordPiece() {
        Map<String, Integer> pieces = new LinkedHashMap<>();
        vocabulary.forEach((token, id) -> {
            String piece =
                    token.startsWith("\u2581")
                            ? token.substring(1)
                            : token.startsWith("[") && token.endsWith("]") ? token : "##" + token;
            Integer before = pieces.putIfAbsent(piece.isEmpty() ? "[EMPTY_" + id + "]" : piece, id);
            if (before != null) {
                throw bad(
                        "tokens",
                        "entry " + id + " repeats entry " + before + ", \"" + piece + "\"");
            }
        });
        return Specs.wordPiece(pieces, Specs.uncased(pieces), source);
    }

    private List<AddedToken> added() {
        List<AddedToken> added = new ArrayList<>();
        for (int id = 0; id < types.length; id++) {
            if (types[id] == CONTROL || types[id] == USER_DEFINED || types[id] == UNKNOWN) {
                added.add(new AddedToken(id, tokens.get(id), types[id] != USER_DEFINED));
            }
        }
        return added;
    }

    private String around(boolean begin, boolean end) {
        return Specs.template(
                begin ? List.of(special("bos_token_id")) : List.of(),
                end ? List.of(special("eos_token_id")) : List.of());
    }

    private AddedToken special(String name) {
        long id = number(metadata.get(key(name)), name).longValue();
        if (id < 0 || id >= tokens.size()) {
            throw bad(name, id + " is outside the vocabulary of " + tokens.size() + " tokens");
        }
        return new AddedToken((int) id, tokens.get((int) id), true);
    }

    private boolean flag(String name, boolean otherwise) {
        return switch (metadata.get(key(name))) {
            case null -> otherwise;
            case Boolean value -> value;
            default -> throw bad(name, "should be true or false");
        };
    }

    private Number number(Object value, String name) {
        if (value instanceof Number number) {
            return number;
        }
        throw bad(name, "should be a number, found " + value);
    }

    private List<Object> list(String name, int length) {
        List<Object> list = list(name);
        if (list.size() != length) {
            throw bad(name, "has " + list.size() + " entries for " + length + " tokens");
        }
        return list;
    }

    /** A metadata array, be it a list or a Java array. */
    private List<Object> list(String name) {
        Object value = metadata.get(key(name));
        if (value instanceof List<?> list) {
            return List.copyOf(list);
        }
        if (value == null || !value.getClass().isArray()) {
            throw bad(name, value == null ? "is missing" : "should be an array");
        }
        List<Object> list = new ArrayList<>(Array.getLength(value));
        for (int i = 0; i < Array.getLength(value); i++) {
            list.add(Array.get(value, i));
        }
        return list;
    }

    private MillraceException bad(String name, String problem) {
        return new MillraceException(source + ": metadata " + key(name) + ": " + problem);
    }

    private static String key(String name) {
        return "tokenizer.ggml." + name;
    }
}
