package dev.millrace.models;

/**
 * What was generated and how fast.
 *
 * @param text the new text, without the stop text; null where the model has no tokenizer
 * @param promptIds the tokens that were given
 * @param ids the new tokens, an end-of-sequence token included
 * @param stop why it ended
 * @param ttftMillis milliseconds from the tokenized prompt to the first new token
 * @param decodeTokensPerSecond new tokens after the first per second after it; NaN where there was just one
 */
public record Generation(
        String text, int[] promptIds, int[] ids, Stop stop, double ttftMillis, double decodeTokensPerSecond) {
    /** Why a generation ended. */
    public enum Stop {
        /** The number of tokens asked for is reached. */
        LENGTH,
        /** The model ended the text. */
        EOS,
        /** A stop text came up. */
        STOP,
        /** The model's context is full. */
        CONTEXT,
        /** The receiver of the text asked for no more. */
        CANCELLED
    }
}
