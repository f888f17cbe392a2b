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
}
