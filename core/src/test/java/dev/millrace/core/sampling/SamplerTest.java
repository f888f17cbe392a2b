package dev.millrace.core.sampling;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Random;
import java.util.function.IntUnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SamplerTest {
    private static final int VOCABULARY = 37;
    private static final int DRAWS = 40_000;
    private static final IntUnaryOperator NO_HISTORY = p -> {
        throw new AssertionError("no history was to be read");
    };

    private static float[] logits(long seed) {
        Random random = new Random(seed);
        float[] logits = new float[VOCABULARY];
        for (int i = 0; i < VOCABULARY; i++) {
            logits[i] = (float) (2 * random.nextGaussian());
        }
        return logits;
    }

    /** The exact probabilities, by sorting: written apart from the sampler's heaps and thresholds. */
    private static double[] exact(float[] logits, Sampling s) {
        Integer[] order = new Integer[logits.length];
        Arrays.setAll(order, i -> i);
        Arrays.sort(order, (a, b) -> Float.compare(logits[b], logits[a]));
        double[] p = new double[logits.length];
        int kept = s.topK() > 0 ? Math.min(s.topK(), logits.length) : logits.length;
        double total = 0;
        for (int i = 0; i < kept; i++) {
            p[order[i]] = Math.exp(logits[order[i]] / (double) s.temperature());
            total += p[order[i]];
        }
        double reached = 0;
        for (int i = 0; i < kept; i++) {
            boolean out = reached >= s.topP() * total || p[order[i]] < s.minP() * p[order[0]];
            reached += p[order[i]];
            p[order[i]] = out ? 0 : p[order[i]];
        }
        double sum = Arrays.stream(p).sum();
        return Arrays.stream(p).map(x -> x / sum).toArray();
    }

    @ParameterizedTest
    @CsvSource({
        "1, 0, 1, 0", "0.7, 0, 1, 0", "1.8, 5, 1, 0", "1, 0, 0.8, 0", "1, 0, 1, 0.1", "0.8, 40, 0.95, 0", "1.2, 12, 0.7, 0.05", "1, 1, 1, 0"
    })
    void drawsFollowTheExactProbabilities(float temperature, int topK, float topP, float minP) {
        float[] logits = logits(3);
        Sampling sampling = new Sampling(1, temperature, topK, topP, minP, 11);
        double[] expected = exact(logits, sampling);
        int[] counts = new int[VOCABULARY];
        Sampler sampler = new Sampler(VOCABULARY);
        for (int position = 0; position < DRAWS; position++) {
            counts[sampler.sample(logits, 0, sampling, NO_HISTORY, position)]++;
        }
        double chi = 0;
        int cells = 0;
        for (int i = 0; i < VOCABULARY; i++) {
            if (expected[i] == 0) {
                assertThat(counts[i]).as("token %d, which the filters remove", i).isZero();
            } else if (expected[i] * DRAWS >= 5) {
                chi += Math.pow(counts[i] - expected[i] * DRAWS, 2) / (expected[i] * DRAWS);
                cells++;
            }
        }
        // five standard deviations above the mean of the chi-square distribution
        assertThat(chi).as("chi-square over %d tokens", cells).isLessThan(cells + 5 * Math.sqrt(2.0 * cells));
    }

    @Test
    void oneSeedGivesOneSequenceAndAnotherAnother() {
        float[] logits = logits(4);
        assertThat(draws(logits, 5)).isEqualTo(draws(logits, 5)).isNotEqualTo(draws(logits, 6));
    }

    private static int[] draws(float[] logits, long seed) {
        Sampler sampler = new Sampler(VOCABULARY);
        int[] tokens = new int[200];
        for (int p = 0; p < tokens.length; p++) {
            tokens[p] = sampler.sample(logits, 0, new Sampling(1, 1, 0, 1, 0, seed), NO_HISTORY, p);
        }
        return tokens;
    }

    @Test
    void greedyTakesTheHighestAndOfEqualsTheLowest() {
        float[] logits = new float[VOCABULARY];
        logits[7] = 2;
        logits[20] = 2;
        assertThat(new Sampler(VOCABULARY).sample(logits, 0, Sampling.GREEDY, NO_HISTORY, 3)).isEqualTo(7);
    }

    @Test
    void repeatedTokensArePenalizedOnceWhateverTheirSign() {
        float[] logits = new float[4];
        logits[0] = 3;
        logits[1] = 2;
        logits[2] = -0.5f;
        logits[3] = -0.6f;
        Sampling greedy = new Sampling(1.4f, 0, 0, 1, 0, 0);
        Sampler sampler = new Sampler(4);
        int[] history = {0, 0, 0};
        assertThat(sampler.sample(logits, 0, greedy, p -> history[p], 1)).as("3 / 1.4 is still above 2").isZero();
        assertThat(sampler.sample(logits, 0, greedy, p -> history[p], 3)).as("counted once").isZero();
        Sampling harder = new Sampling(1.6f, 0, 0, 1, 0, 0);
        assertThat(sampler.sample(logits, 0, harder, p -> history[p], 1)).isEqualTo(1);
        float[] negative = {-0.5f, -0.6f};
        assertThat(new Sampler(2).sample(negative, 0, greedy, p -> 0, 1)).as("-0.5 * 1.4 is below -0.6").isEqualTo(1);
    }

    @Test
    void logitsAreReadFromTheOffset() {
        float[] logits = new float[2 * VOCABULARY];
        logits[5] = 9;
        logits[VOCABULARY + 8] = 1;
        assertThat(new Sampler(VOCABULARY).sample(logits, VOCABULARY, Sampling.GREEDY, NO_HISTORY, 0)).isEqualTo(8);
    }

    @Test
    void uniformNumbersAreUniformAndNeverZeroOrOne() {
        long key = CounterRng.key(42, 17);
        double mean = 0;
        int[] tenths = new int[10];
        int n = 200_000;
        for (int i = 0; i < n; i++) {
            float u = CounterRng.uniform(key, i);
            assertThat(u).isGreaterThan(0).isLessThan(1);
            mean += u / n;
            tenths[(int) (u * 10)]++;
        }
        assertThat(mean).isCloseTo(0.5, within(0.004));
        assertThat(Arrays.stream(tenths).boxed()).allMatch(c -> Math.abs(c - n / 10) < 700);
    }

    /** SplitMix64's published first outputs for seed 0: the mixing function is the published one. */
    @Test
    void theMixingFunctionIsSplitMix64() {
        assertThat(CounterRng.key(0, 0)).isEqualTo(0xE220A8397B1DCDAFL);
        assertThat(CounterRng.key(0, 1)).isEqualTo(0x6E789E6AA1B965F4L);
        assertThat(CounterRng.key(0, 2)).isEqualTo(0x06C45D188009454FL);
    }

    @Test
    void settingsOutOfRangeAreRefusedByName() {
        assertThatThrownBy(() -> new Sampling(1, -1, 0, 1, 0, 0)).hasMessage("temperature -1.0: must be 0 or more");
        assertThatThrownBy(() -> new Sampling(1, 1, -1, 1, 0, 0)).hasMessage("top-k -1: must be 0 (all) or more");
        assertThatThrownBy(() -> new Sampling(1, 1, 0, 0, 0, 0)).hasMessage("top-p 0.0: must be above 0, at most 1");
        assertThatThrownBy(() -> new Sampling(1, 1, 0, 1, 2, 0)).hasMessage("min-p 2.0: must be from 0 to 1");
        assertThatThrownBy(() -> new Sampling(0, 1, 0, 1, 0, 0)).hasMessage("repeat penalty 0.0: must be above 0");
        assertThatThrownBy(() -> new Sampling(1, Float.NaN, 0, 1, 0, 0)).hasMessageContaining("temperature NaN");
    }
}
