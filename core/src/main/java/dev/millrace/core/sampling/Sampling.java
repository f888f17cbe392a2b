package dev.millrace.core.sampling;

/**
 * How the next token is chosen. The steps are applied in the order of the components; {@link Sampler} is the
 * definition.
 *
 * @param repeatPenalty scores of tokens that the session already holds are divided by it when positive and multiplied
 *     when negative (Keskar et al., 2019); 1 for none
 * @param temperature scores are divided by it; 0 is greedy: the highest score, the lowest id among equals
 * @param topK keeps the k highest scores; 0 for all
 * @param topP keeps the smallest set of most probable tokens whose probabilities reach p (Holtzman et al., 2019); 1 for
 *     all
 * @param minP keeps tokens at least p times as probable as the most probable one; 0 for all
 * @param seed with the position, the key of the random numbers: one seed, one text, on every device
 */
public record Sampling(float repeatPenalty, float temperature, int topK, float topP, float minP, long seed) {
    /** The highest score, nothing else. */
    public static final Sampling GREEDY = new Sampling(1, 0, 0, 1, 0, 0);

    /** The defaults of the command line: temperature 0.8, top-k 40, top-p 0.95, repetition penalty 1.1. */
    public static Sampling standard(long seed) {
        return new Sampling(1.1f, 0.8f, 40, 0.95f, 0, seed);
    }

    public Sampling {
        check(repeatPenalty > 0 && Float.isFinite(repeatPenalty), "repeat penalty", repeatPenalty, "above 0");
        check(temperature >= 0 && Float.isFinite(temperature), "temperature", temperature, "0 or more");
        check(topK >= 0, "top-k", topK, "0 (all) or more");
        check(topP > 0 && topP <= 1, "top-p", topP, "above 0, at most 1");
        check(minP >= 0 && minP <= 1, "min-p", minP, "from 0 to 1");
    }

    public boolean greedy() {
        return temperature == 0;
    }

    private static void check(boolean good, String what, Number found, String wanted) {
        if (!good) {
            throw new IllegalArgumentException(what + " " + found + ": must be " + wanted);
        }
    }
}
