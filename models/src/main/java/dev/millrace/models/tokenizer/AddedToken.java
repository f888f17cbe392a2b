package dev.millrace.models.tokenizer;

/**
 * A token that is found in the text before the tokenizer's model runs.
 *
 * @param special whether decoding may leave it out
 */
public record AddedToken(int id, String text, boolean special) {}
