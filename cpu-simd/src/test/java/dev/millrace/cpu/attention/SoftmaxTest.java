package dev.millrace.cpu.attention;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.cpu.kv.KvCache;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Errors of single softmax weights against {@link StrictMath} in double. Values that are rows of the identity show them
 * as they are: what is added to a weight is 0.
 */
class SoftmaxTest {
    private static final int HEAD_DIM = 64;
    private static final int POSITIONS = 7 * KvCache.TILE - 5;

    /** One row by one (decoding), by four (heads that share keys), and many (prompts). */
    @ParameterizedTest
    @CsvSource({"F32, 1", "F32, 4", "F32, 17", "F16, 1", "F16, 4", "F16, 17"})
    void weightsAreWithin6UlpWhereDifferencesOfScoresAreExact(KvFormat format, int rows) {
        Random random = new Random(31);
        float[] scores = new float[POSITIONS];
        for (int p = 0; p < POSITIONS; p++) {
            scores[p] = (random.nextInt(640) - 320) / 16f;
        }
        assertThat(worst(format, rows, scores, true)).as("in any order, seed 31").isLessThan(6);
        Arrays.sort(scores);
        assertThat(worst(format, rows, scores, true)).as("each tile above those before, seed 31").isLessThan(6);
    }

    @ParameterizedTest
    @CsvSource({"1", "4", "17"})
    void weightsAreWithin4UlpOfTheLargestOfTheirRowWhateverTheScores(int rows) {
        Random random = new Random(32);
        for (float spread : new float[] {0.01f, 1, 10}) {
            float[] scores = new float[POSITIONS];
            for (int p = 0; p < POSITIONS; p++) {
                scores[p] = (float) random.nextGaussian() * spread;
            }
            assertThat(worst(KvFormat.F32, rows, scores, false)).as("spread %s, seed 32", spread).isLessThan(4);
        }
    }

    /** The largest error of a weight, in ULP of itself or of the largest of its row. */
    private static double worst(KvFormat format, int rows, float[] scores, boolean own) {
        double worst = 0;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(KvCache.bytes(1, HEAD_DIM, POSITIONS, format), 64);
            KvCache cache = KvCache.in(memory, 0, 1, HEAD_DIM, POSITIONS, format);
            TileScratch tile = new TileScratch(rows, HEAD_DIM, arena);
            for (int shown = 0; shown < POSITIONS; shown += HEAD_DIM) {
                for (int p = 0; p < POSITIONS; p++) {
                    float[] key = new float[HEAD_DIM];
                    float[] value = new float[HEAD_DIM];
                    key[0] = scores[p];
                    if (p >= shown && p < shown + HEAD_DIM) {
                        value[p - shown] = 1;
                    }
                    cache.put(0, p, key, 0, value, 0);
                }
                Arrays.fill(tile.q, 0);
                tile.clear(rows);
                for (int r = 0; r < rows; r++) {
                    tile.q[r * HEAD_DIM] = 1;
                    tile.first[r] = r;
                    tile.last[r] = POSITIONS - rows + r;
                }
                tile.addVectors(cache, 0, rows, 0, POSITIONS);
                float[] weights = new float[HEAD_DIM];
                for (int r = 0; r < rows; r++) {
                    tile.write(r, weights, 0);
                    worst = Math.max(worst, worst(weights, shown, scores, r, POSITIONS - rows + r, own));
                }
            }
        }
        return worst;
    }

    private static double worst(float[] weights, int shown, float[] scores, int first, int last, boolean own) {
        double highest = Double.NEGATIVE_INFINITY;
        for (int p = first; p <= last; p++) {
            highest = Math.max(highest, scores[p]);
        }
        double sum = 0;
        for (int p = first; p <= last; p++) {
            sum += StrictMath.pow(2, scores[p] - highest);
        }
        double worst = 0;
        for (int p = Math.max(shown, first); p <= Math.min(shown + HEAD_DIM - 1, last); p++) {
            double want = StrictMath.pow(2, scores[p] - highest) / sum;
            double ulp = Math.ulp((float) (own ? want : 1 / sum));
            worst = Math.max(worst, Math.abs(weights[p - shown] - want) / ulp);
        }
        return worst;
    }
}
