package dev.millrace.bench.cli;

import dev.millrace.models.Model;
import dev.millrace.models.cli.UsageException;
import picocli.CommandLine.Option;

/** How long the prompts are that are read, and how many tokens are decoded. */
final class LengthOptions {
    @Option(
            names = "-p",
            paramLabel = "TOKENS",
            converter = Counts.Converter.class,
            description = "Prompt lengths to read: 512, or 16,512, or 128-512+128, or 16-1024*2; 0 for none"
                    + " (default: ${DEFAULT-VALUE}).")
    private Counts prompts;

    @Option(
            names = "-n",
            paramLabel = "TOKENS",
            converter = Counts.Converter.class,
            description = "Numbers of tokens to decode, written likewise; 0 for none (default: ${DEFAULT-VALUE};"
                    + " 0 for encoders).")
    private Counts decodes;

    private final Counts byDefault;

    LengthOptions(Counts prompts, Counts decodes) {
        this.prompts = prompts;
        this.decodes = decodes;
        this.byDefault = decodes;
    }

    /**
     * Refuses, before anything is measured, what a model's context has no room for.
     *
     * @param options that ask for {@code tokens} of a sequence
     */
    static void fits(Model model, String options, long tokens) {
        if (tokens > model.contextLength()) {
            throw new UsageException(options + ": " + model.name() + " has a context of " + model.contextLength()
                    + " tokens, and that takes " + tokens);
        }
    }

    Counts prompts() {
        return prompts;
    }

    Counts decodes(Model model) {
        return decodes == byDefault && model.config().encoder() ? Counts.of(0) : decodes;
    }
}
