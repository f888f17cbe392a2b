package dev.millrace.models.tokenizer;

import java.util.OptionalInt;

/**
 * Text to token ids and back. Instances are safe for use by several threads; closing frees native
 * memory.
 *
 * <p>Opened by {@link Tokenizers}.
 */
public interface Tokenizer extends AutoCloseable {
    /**
     * The ids of a text.
     *
     * @param text any text; the spelling of a special token (such as {@code <|endoftext|>}) inside
     *     it becomes that token. Unpaired surrogates become U+FFFD
     * @param specialTokens whether what the checkpoint puts around a text (a begin-of-sequence
     *     token, BERT's [CLS] and [SEP]) is added; {@code false} adds nothing
     */
    int[] encode(String text, boolean specialTokens);

    /**
     * The text of some ids. Ids outside the vocabulary have no text; bytes that are no UTF-8 become
     * U+FFFD.
     *
     * @param skipSpecial whether special tokens are left out
     */
    String decode(int[] ids, boolean skipSpecial);

    /** One more than the largest id. */
    int vocabularySize();

    /**
     * The id of a special or added token, given its exact spelling; empty where the vocabulary has
     * no such token.
     */
    OptionalInt tokenId(String token);

    /** A decoder for ids that arrive one by one, special tokens left out. */
    StreamDecoder stream();

    /**
     * Frees the native memory; using the tokenizer afterwards throws {@link IllegalStateException}.
     */
    @Override
    void close();
}
