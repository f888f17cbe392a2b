package dev.millrace.models.tokenizer;

import dev.millrace.core.MillraceException;
import dev.millrace.models.tokenizer.Vocabularies.Merge;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Opens the tokenizer of a checkpoint, in whichever form it comes; everything but a {@code
 * tokenizer.json} is rewritten as one. Files are checked first: each failure is one {@link
 * MillraceException} that names the file and the field.
 *
 * <p>Opening may run on any thread, also while other threads open others: the native library is
 * loaded once.
 */
public final class Tokenizers {
    private Tokenizers() {}

    /**
     * The tokenizer of a checkpoint directory: {@code tokenizer.json}, else {@code vocab.json} with
     * {@code merges.txt}, else {@code vocab.txt}.
     */
    public static Tokenizer ofDirectory(Path directory) {
        Path json = directory.resolve("tokenizer.json");
        Path vocab = directory.resolve("vocab.json");
        Path merges = directory.resolve("merges.txt");
        Path words = directory.resolve("vocab.txt");
        if (Files.exists(json)) {
            return ofJson(json);
        }
        if (Files.exists(vocab) && Files.exists(merges)) {
            return ofVocabulary(vocab, merges);
        }
        if (Files.exists(words)) {
            return ofWordPiece(words);
        }
        throw new MillraceException(
                directory
                        + ": no tokenizer in it (tokenizer.json, vocab.json with merges.txt, or vocab.txt)"
                        + (Files.exists(directory.resolve("tokenizer.model"))
                                ? "; tokenizer.model alone is not read: save the checkpoint with its fast tokenizer"
                                : "; pass token ids with --ids instead of text"));
    }

    /** Whether {@link #ofDirectory} would find the files of a tokenizer. */
    public static boolean isIn(Path directory) {
        return Files.exists(directory.resolve("tokenizer.json"))
                || Files.exists(directory.resolve("vocab.json"))
                        && Files.exists(directory.resolve("merges.txt"))
                || Files.exists(directory.resolve("vocab.txt"));
    }

    /** A {@code tokenizer.json}. */
    public static Tokenizer ofJson(Path file) {
        return ofJson(Json.bytes(file), file.toString());
    }

    /**
     * The text of a {@code tokenizer.json} (UTF-8).
     *
     * @param source what messages name
     */
    public static Tokenizer ofJson(byte[] json, String source) {
        int size = Json.read(source, json, TokenizerJson::check);
        return NativeTokenizer.of(new String(json, StandardCharsets.UTF_8), source, () -> size);
    }

    /**
     * As {@link #ofJson(byte[], String)}, for text that ships with the program and so needs no
     * check: about 15 ms instead of 100 at process start.
     */
    public static Tokenizer ofBundledJson(byte[] json, String source) {
        return NativeTokenizer.of(
                new String(json, StandardCharsets.UTF_8),
                source,
                () -> Json.read(source, json, TokenizerJson::check));
    }

    /**
     * GPT-2's two files, or RoBERTa's or Qwen2's as a {@code tokenizer_config.json} beside them
     * says.
     *
     * @param vocab {@code vocab.json}: {token: id}
     * @param merges {@code merges.txt}: "left right", the first merged first
     */
    public static Tokenizer ofVocabulary(Path vocab, Path merges) {
        TokenizerConfig config = TokenizerConfig.beside(vocab);
        Map<String, Integer> vocabulary = Vocabularies.vocabJson(vocab);
        if (!vocabulary.containsKey("\u0120")) {
            throw new MillraceException(
                    vocab
                            + ": is no byte-level vocabulary (it has no token \u0120, the space); supply a tokenizer.json");
        }
        List<AddedToken> added = new ArrayList<>(config.addedTokens());
        PreTokenizer cut = PreTokenizer.GPT2;
        String around = null;
        switch (config.kind()) {
            case "GPT2", "" -> {
                if (added.isEmpty() && vocabulary.containsKey("<|endoftext|>")) {
                    added.add(
                            new AddedToken(vocabulary.get("<|endoftext|>"), "<|endoftext|>", true));
                }
            }
            case "Qwen2" -> cut = PreTokenizer.QWEN2;
            case "Roberta" -> {
                added.clear();
                for (String token : List.of("<s>", "<pad>", "</s>", "<unk>", "<mask>")) {
                    if (!vocabulary.containsKey(token)) {
                        throw new MillraceException(
                                vocab
                                        + ": has no token "
                                        + token
                                        + ", which a RoBERTa vocabulary has");
                    }
                    added.add(new AddedToken(vocabulary.get(token), token, true));
                }
                around = Specs.template(List.of(added.get(0)), List.of(added.get(2)));
            }
            default ->
                    throw new MillraceException(
                            config.source()
                                    + ": tokenizer_class "
                                    + config.kind()
                                    + "Tokenizer cannot be built from vocab.json and merges.txt; supply a tokenizer.json");
        }
        List<Merge> ranked = Vocabularies.merges(merges);
        return open(
                Specs.byteLevel(vocabulary, ranked, added, cut, around),
                vocab + " and " + merges.getFileName());
    }

    /**
     * BERT's {@code vocab.txt}. Whether text is lowercased says {@code do_lower_case} in a {@code
     * tokenizer_config.json} beside it; without one, whether the vocabulary is free of capitals.
     */
    public static Tokenizer ofWordPiece(Path vocab) {
        Map<String, Integer> vocabulary = Vocabularies.vocabTxt(vocab);
        Boolean lowercase = TokenizerConfig.beside(vocab).lowercase();
        boolean uncased = lowercase != null ? lowercase : Specs.uncased(vocabulary);
        return open(Specs.wordPiece(vocabulary, uncased, vocab.toString()), vocab.toString());
    }

    /**
     * The tokenizer in the metadata of a GGUF file.
     *
     * @param metadata the file's key-value pairs; arrays as lists or Java arrays
     * @param source what messages name: the file
     */
    public static Tokenizer ofGguf(Map<String, Object> metadata, String source) {
        return open(GgufVocabulary.spec(metadata, source), source);
    }

    private static Tokenizer open(TokenizerSpec spec, String source) {
        int size = spec.vocabularySize();
        return NativeTokenizer.of(spec.toJson(), source, () -> size);
    }
}
