package dev.millrace.core.kit;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

/** The kit's comparison notices what it is there to notice. */
class KitFailsTest {
    @Test
    void anErrorAboveTheToleranceFails() {
        assertThatThrownBy(() -> Trial.compare(new float[] {1, 2, 3}, new float[] {1, 2, 3.001f}, 1e-5))
                .isInstanceOf(AssertionError.class)
                .hasMessageContaining("worst at 2 of 3");
    }

    @Test
    void anUnwrittenRowFails() {
        assertThatThrownBy(() -> Trial.compare(new float[] {1, 2}, new float[] {1, Float.NaN}, 1))
                .isInstanceOf(AssertionError.class);
    }
}
