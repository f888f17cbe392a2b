package dev.millrace.models.cli;

import dev.millrace.models.Model;
import picocli.CommandLine.Option;

/** {@code --text} or {@code --ids}: what a model is given. */
public final class TextInput {
    @Option(names = "--text", paramLabel = "TEXT", description = "The text to give to the model.")
    private String text;

    @Option(
            names = "--ids",
            paramLabel = "IDS",
            converter = TokenIds.Converter.class,
            description = "Token ids instead of a text: 1,2,3.")
    private TokenIds ids;

    public boolean given() {
        return text != null || ids != null;
    }

    /** @throws UsageException when both are given */
    public void atMostOne() {
        if (text != null && ids != null) {
            throw new UsageException("--text and --ids were given; give one of them");
        }
    }

    /** @throws UsageException unless exactly one is given */
    public void exactlyOne() {
        atMostOne();
        if (!given()) {
            throw new UsageException("give the input: --text TEXT or --ids 1,2,3");
        }
    }

    /**
     * The token ids.
     *
     * @param specialTokens whether the tokens that the checkpoint puts round a text are added
     * @throws dev.millrace.core.MillraceException when an id is outside the vocabulary, or the input is empty
     */
    public int[] ids(Model model, boolean specialTokens) {
        return model.checked(ids != null ? ids.ids() : model.tokenizer().encode(text, specialTokens));
    }
}
