package dev.millrace.models.cli;

import dev.millrace.core.sampling.Sampling;
import dev.millrace.models.GenerateOptions;
import java.util.List;
import picocli.CommandLine.Option;

/** How new tokens are chosen, and what ends a text: the same options wherever text is generated. */
public final class SamplingOptions {
    @Option(
            names = "--temperature",
            paramLabel = "T",
            defaultValue = "0.8",
            description = "Randomness; 0 takes the most probable token (default: ${DEFAULT-VALUE}).")
    private float temperature;

    @Option(
            names = "--top-k",
            paramLabel = "K",
            defaultValue = "40",
            description = "Keep the K most probable tokens; 0 for all (default: ${DEFAULT-VALUE}).")
    private int topK;

    @Option(
            names = "--top-p",
            paramLabel = "P",
            defaultValue = "0.95",
            description = "Keep the most probable tokens that reach probability P (default: ${DEFAULT-VALUE}).")
    private float topP;

    @Option(
            names = "--min-p",
            paramLabel = "P",
            defaultValue = "0",
            description = "Keep tokens at least P times as probable as the best (default: ${DEFAULT-VALUE}).")
    private float minP;

    @Option(
            names = "--repeat-penalty",
            paramLabel = "R",
            description = "Divide the scores of tokens already there by R (default: 1.1; 1 with --temperature 0).")
    private Float repeatPenalty;

    @Option(names = "--seed", paramLabel = "S", description = "Same seed, same text (default: a fresh one).")
    private Long seed;

    @Option(names = "--stop", paramLabel = "TEXT", description = "End before this text; may be repeated.")
    private List<String> stop = List.of();

    /** @throws UsageException where a value is out of its range */
    public GenerateOptions options(int maxTokens, boolean kvCache) {
        try {
            long chosen = seed == null ? GenerateOptions.freshSeed() : seed;
            float penalty = repeatPenalty != null ? repeatPenalty : temperature == 0 ? 1 : 1.1f;
            return new GenerateOptions(
                    maxTokens, new Sampling(penalty, temperature, topK, topP, minP, chosen), stop, kvCache);
        } catch (IllegalArgumentException e) {
            throw new UsageException(e.getMessage());
        }
    }
}
