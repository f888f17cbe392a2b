package dev.millrace.models.tokenizer;

import java.util.Arrays;

/**
 * Turns ids that arrive one by one into text that never ends in half a UTF-8 character; special
 * tokens have no text.
 *
 * <p>A token may hold only some bytes of a character; the library decodes such a tail as U+FFFD, so
 * text that ends in U+FFFD is held back until more ids complete it. The texts returned, {@link
 * #finish()}'s last, joined, equal decoding all ids at once: always for byte-level BPE and
 * WordPiece. (A SentencePiece vocabulary spells unknown bytes one token each, and the library
 * judges a whole run of them together: where such a run is no valid UTF-8 the number of U+FFFD may
 * differ.)
 *
 * <p>Only unfinished text is decoded again, so the cost of a token does not grow with the text. One
 * stream, one thread.
 */
public final class StreamDecoder {
    /**
     * Unfinished ids beyond which the settled part of their text is given out: invalid bytes can go
     * on for ever.
     */
    private static final int LONGEST_WAIT = 16;

    /**
     * A UTF-8 character has at most four bytes, a token at least one: an unfinished one lies in the
     * last three tokens.
     */
    private static final int LONGEST_TAIL = 3;

    private final NativeTokenizer tokenizer;

    /**
     * An id with ordinary text, to stand for everything already given out; -1 where the vocabulary
     * has none.
     */
    private final int anchor;

    private int[] window = new int[LONGEST_WAIT + 2];
    private int length;

    /**
     * Ids at the start of the window, and characters at the start of its text, that are already
     * given out.
     */
    private int givenIds;

    private int givenChars;

    StreamDecoder(NativeTokenizer tokenizer, int anchor) {
        this.tokenizer = tokenizer;
        this.anchor = anchor;
    }

    /**
     * The text that this id completes; empty for a special token and while a character is
     * unfinished.
     */
    public String push(int id) {
        append(id);
        String text = text(length);
        boolean late = length - givenIds > LONGEST_WAIT;
        if (text.length() <= givenChars) {
            // Special tokens, or a space that is dropped at the start of a text and so must stay in
            // the window.
            if (givenChars > 0 || late) {
                length = givenIds;
            }
            return "";
        }
        if (!text.endsWith("\uFFFD")) {
            return give(text, length);
        }
        return late ? giveSettled(text) : "";
    }

    /** What was held back, at the end of the ids; the next id starts a new text. */
    public String finish() {
        String text = text(length);
        String rest = text.length() <= givenChars ? "" : text.substring(givenChars);
        length = 0;
        givenIds = 0;
        givenChars = 0;
        return rest;
    }

    private String give(String text, int count) {
        String given = text.substring(givenChars);
        if (anchor < 0) {
            givenIds = count;
            givenChars = text.length();
            return given;
        }
        int[] tail = Arrays.copyOfRange(window, count, length);
        window[0] = anchor;
        length = 1;
        givenIds = 1;
        givenChars = text(1).length();
        for (int id : tail) {
            append(id);
        }
        return given;
    }

    /**
     * Of a long run that still ends in an invalid byte, gives out all but the ids that may yet
     * become a character.
     */
    private String giveSettled(String text) {
        for (int tail = Math.min(LONGEST_TAIL, length - givenIds);
                tail > 0 && anchor >= 0;
                tail--) {
            String head = text(length - tail);
            int[] last = new int[tail + 1];
            last[0] = anchor;
            System.arraycopy(window, length - tail, last, 1, tail);
            String anchorText = tokenizer.decode(last, 1, true);
            if (text.equals(head + tokenizer.decode(last, true).substring(anchorText.length()))) {
                return give(head, length - tail);
            }
        }
        return give(text, length);
    }

    private String text(int count) {
        return tokenizer.decode(window, count, true);
    }

    private void append(int id) {
        if (length == window.length) {
            window = Arrays.copyOf(window, 2 * length);
        }
        window[length++] = id;
    }
}
