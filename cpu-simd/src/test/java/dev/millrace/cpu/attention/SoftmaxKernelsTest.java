package dev.millrace.cpu.attention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import dev.millrace.cpu.kv.KvCache;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SoftmaxKernelsTest {
    private static final int TILE = KvCache.TILE;

    @ParameterizedTest
    @CsvSource({"-125.49, 127.9", "-2, 2", "-0.5, 0.5"})
    void powersOf2AreWithin1Ulp(double from, double to) {
        int rows = (1 << 20) / TILE;
        float[] x = new float[rows * TILE];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) (from + (to - from) * i / (x.length - 1));
        }
        float[] y = x.clone();
        SoftmaxKernels.weights(y, 0, rows, new float[rows], new float[rows * SoftmaxKernels.SUMS]);
        double worst = 0;
        for (int i = 0; i < x.length; i++) {
            double want = StrictMath.pow(2, x[i]);
            worst = Math.max(worst, Math.abs(y[i] - want) / Math.ulp((float) want));
        }
        assertThat(worst).isLessThan(1);
    }

    @Test
    void weightsAreOfDifferencesZeroFarBelowAndAddedToWhatIsThere() {
        float[] s = new float[3 * TILE];
        float[] reference = {7, 300, 7};
        float[] sums = new float[3 * SoftmaxKernels.SUMS];
        sums[SoftmaxKernels.SUMS + 1] = 5;
        double sum = 5;
        for (int i = 0; i < 3 * TILE; i++) {
            s[i] = i % 5 == 0 ? -1000 : i % 7 == 0 ? Float.NEGATIVE_INFINITY : 307.5f - i % TILE;
            sum += i / TILE == 1 ? StrictMath.pow(2, s[i] - 300.0) : 0;
        }
        float[] before = s.clone();
        SoftmaxKernels.weights(s, 1, 2, reference, sums);
        for (int i = 0; i < 3 * TILE; i++) {
            boolean ours = i / TILE == 1;
            double want = !ours ? before[i] : before[i] < 100 ? 0 : StrictMath.pow(2, before[i] - 300.0);
            assertThat((double) s[i]).as("score %s", before[i]).isEqualTo(want, offset(ours ? 1.0 * Math.ulp((float) want) : 0.0));
        }
        assertThat((double) SoftmaxKernels.total(sums, 1)).isCloseTo(sum, offset(1e-6 * sum));
        assertThat(SoftmaxKernels.total(sums, 0) + SoftmaxKernels.total(sums, 2)).isZero();
    }

    @Test
    void rowsFarAboveTheirReferenceAreFoundWhereverTheirScoreIs() {
        Random random = new Random(3);
        for (int at = 0; at < TILE; at++) {
            float[] s = new float[4 * TILE];
            for (int i = 0; i < s.length; i++) {
                s[i] = 8 - random.nextFloat();
            }
            s[2 * TILE + at] = 8.5f;
            s[3 * TILE + at] = 19;
            float[] reference = {0, 0, 0, 11};
            assertThat(SoftmaxKernels.above(s, 0, 4, reference)).as("score at %d", at).isEqualTo(2);
            assertThat(SoftmaxKernels.above(s, 3, 4, reference)).isEqualTo(4);
            assertThat(SoftmaxKernels.highest(s, 2 * TILE)).isEqualTo(8.5f);
        }
    }

    @Test
    void changingAReferenceIsExact() {
        assertThat(SoftmaxKernels.power(0)).isEqualTo(1);
        assertThat(SoftmaxKernels.power(-3)).isEqualTo(0.125f);
        assertThat(SoftmaxKernels.power(-126)).isEqualTo(Float.MIN_NORMAL);
        assertThat(SoftmaxKernels.power(-127)).isZero();
        assertThat(SoftmaxKernels.power(-1e30f)).isZero();
    }
}
