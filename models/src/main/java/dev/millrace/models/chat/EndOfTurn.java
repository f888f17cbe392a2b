package dev.millrace.models.chat;

import dev.millrace.core.MillraceException;
import dev.millrace.models.tokenizer.Tokenizer;
import java.util.List;
import java.util.OptionalInt;

/**
 * What a model writes when its answer is complete, as its chat template shows it: many templates
 * end a turn with a token that is not the end of the text.
 *
 * @param token the special token that ends an answer, if it is one
 * @param text else the text that does; null where the template puts nothing after an answer
 */
public record EndOfTurn(OptionalInt token, String text) {
    private static final String MARK = "millrace";

    /** Reads it off what the template puts after an answer. */
    public static EndOfTurn of(ChatTemplate template, Tokenizer tokenizer) {
        String after = after(template);
        if (after.isEmpty()) {
            return new EndOfTurn(OptionalInt.empty(), null);
        }
        int[] ids = tokenizer.encode(after, false);
        if (tokenizer.decode(new int[] {ids[0]}, true).isEmpty()) {
            return new EndOfTurn(OptionalInt.of(ids[0]), null);
        }
        return new EndOfTurn(OptionalInt.empty(), after.lines().findFirst().orElse(after));
    }

    private static String after(ChatTemplate template) {
        try {
            String text =
                    template.render(List.of(Message.user("Hello"), Message.assistant(MARK)), false);
            int end = text.lastIndexOf(MARK);
            return end < 0 ? "" : text.substring(end + MARK.length()).strip();
        } catch (MillraceException e) {
            // A template that refuses even this has its say when the conversation begins.
            return "";
        }
    }
}
