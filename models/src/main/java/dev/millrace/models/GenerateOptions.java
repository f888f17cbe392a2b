package dev.millrace.models;

import dev.millrace.core.sampling.Sampling;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;

/**
 * What to generate.
 *
 * @param maxTokens most new tokens, at least 1
 * @param sampling how each is chosen
 * @param stop texts that end the generation; they are not part of the result
 * @param kvCache whether keys and values of earlier tokens are kept; without, every token computes all of them again
 */
public record GenerateOptions(int maxTokens, Sampling sampling, List<String> stop, boolean kvCache) {
    public static final int DEFAULT_MAX_TOKENS = 128;

    public GenerateOptions {
        if (maxTokens < 1) {
            throw new IllegalArgumentException("max tokens " + maxTokens + ": must be at least 1");
        }
        stop = List.copyOf(stop);
        if (stop.contains("")) {
            throw new IllegalArgumentException("a stop text must not be empty");
        }
    }

    /** The standard sampling with a fresh seed. */
    public static GenerateOptions standard() {
        return of(Sampling.standard(freshSeed()));
    }

    /** The most probable token every time. */
    public static GenerateOptions greedy() {
        return of(Sampling.GREEDY);
    }

    private static GenerateOptions of(Sampling sampling) {
        return new GenerateOptions(DEFAULT_MAX_TOKENS, sampling, List.of(), true);
    }

    /** A seed of nine digits at most, easy to type again. */
    public static long freshSeed() {
        return ThreadLocalRandom.current().nextInt(1_000_000_000);
    }

    public GenerateOptions withMaxTokens(int tokens) {
        return new GenerateOptions(tokens, sampling, stop, kvCache);
    }

    public GenerateOptions withSampling(Sampling other) {
        return new GenerateOptions(maxTokens, other, stop, kvCache);
    }

    public GenerateOptions withStop(String... texts) {
        return new GenerateOptions(maxTokens, sampling, List.of(texts), kvCache);
    }

    public GenerateOptions withKvCache(boolean keep) {
        return new GenerateOptions(maxTokens, sampling, stop, keep);
    }
}
