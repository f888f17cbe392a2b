package dev.millrace.bench.measure;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class StatsTest {
    @Test
    void medianAndDeviationOfKnownSamples() {
        Stats odd = Stats.of(9, 2, 4);
        assertThat(odd.median()).isEqualTo(4);
        assertThat(odd.min()).isEqualTo(2);
        assertThat(odd.max()).isEqualTo(9);
        // mean 5, squares 16 + 9 + 1 = 26, over n - 1 = 2
        assertThat(odd.stddev()).isCloseTo(Math.sqrt(13), within(1e-12));
        assertThat(Stats.of(1, 2, 3, 10).median()).isEqualTo(2.5);
        assertThat(Stats.of(7).stddev()).isZero();
    }

    @Test
    void nothingHasNoMedian() {
        assertThatThrownBy(Stats::of).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void timingsThatSettleAreWarmedUpThreeTimesAndThenRepeated() {
        int[] calls = {0};
        double[] seconds = Steady.seconds(5, () -> false, () -> {
            calls[0]++;
            return 1;
        });
        assertThat(seconds).hasSize(5).containsOnly(1);
        assertThat(calls[0]).isEqualTo(8);
    }

    @Test
    void aStopEndsTheTimings() {
        int[] calls = {0};
        assertThat(Steady.seconds(5, () -> calls[0] >= 5, () -> ++calls[0] * 0 + 1)).hasSize(2);
    }
}
