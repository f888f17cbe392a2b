package dev.millrace.quant;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;

/** Equality of long arrays, bit for bit, told by the first difference. */
final class Same {
    private Same() {}

    static void floats(float[] found, float[] expected) {
        int at = Arrays.mismatch(found, expected);
        assertThat(at)
                .withFailMessage(() -> "element " + at + " of " + expected.length + ": expected " + show(expected, at)
                        + ", found " + show(found, at) + " (lengths " + expected.length + ", " + found.length + ")")
                .isEqualTo(-1);
    }

    static void bytes(byte[] found, byte[] expected) {
        int at = Arrays.mismatch(found, expected);
        assertThat(at)
                .withFailMessage(() -> "byte " + at + " of " + expected.length + ": expected "
                        + (at < expected.length ? expected[at] : "end") + ", found "
                        + (at < found.length ? found[at] : "end"))
                .isEqualTo(-1);
    }

    private static String show(float[] values, int at) {
        return at < values.length ? Float.toString(values[at]) : "end";
    }
}
