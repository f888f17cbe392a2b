package dev.millrace.quant;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class BlockCodecTest {
    private static final Golden GGML = Golden.open("blocks");
    private static final Golden MORE = Golden.open("more-blocks");

    @ParameterizedTest
    @EnumSource(names = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"})
    void decodesGgmlsBlocksBitForBit(WeightFormat format) {
        Same.floats(decoded(format, GGML.bytes(format + ".blocks")), GGML.floats(format + ".dequantized"));
    }

    @ParameterizedTest
    @EnumSource(names = {"Q2_K", "Q3_K", "IQ4_NL", "IQ4_XS"})
    void decodesGgmlsRarerBlocksBitForBit(WeightFormat format) {
        Same.floats(decoded(format, MORE.bytes(format + ".blocks")), MORE.floats(format + ".dequantized"));
    }

    @ParameterizedTest
    @EnumSource(names = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"})
    void encodesByteForByteLikeGgml(WeightFormat format) {
        Same.bytes(encoded(format, GGML.floats("source")), GGML.bytes(format + ".blocks"));
    }

    /** Zeros, constants, subnormals, halves, one outlier, heavy tails. */
    @ParameterizedTest
    @EnumSource(names = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"})
    void encodesAwkwardValuesByteForByteLikeGgml(WeightFormat format) {
        Same.bytes(encoded(format, MORE.floats("edge.source")), MORE.bytes("edge." + format + ".blocks"));
    }

    @Test
    void halfPrecisionRoundsToNearestEvenAndKeepsEveryHalf() {
        short[] all = new short[1 << 16];
        for (int i = 0; i < all.length; i++) {
            all[i] = (short) i;
        }
        float[] wide = decoded(WeightFormat.F16, bytesOf(all));
        byte[] back = encoded(WeightFormat.F16, wide);
        for (int i = 0; i < all.length; i++) {
            if (!Float.isNaN(wide[i])) {
                assertThat((short) (back[2 * i] & 0xff | back[2 * i + 1] << 8)).isEqualTo((short) i);
            }
        }
        assertThat(wide[0x3c00]).isEqualTo(1f);
        assertThat(wide[0x0001]).isEqualTo(0x1p-24f);
        assertThat(wide[0xfbff]).isEqualTo(-65504f);
        assertThat(encoded(WeightFormat.F16, new float[] {1 + 0x1p-11f, 1 + 0x3p-11f})).containsExactly(0, 0x3c, 2, 0x3c);
    }

    @Test
    void brainFloatRoundsToNearestEvenAndKeepsNan() {
        float[] values = {1f, 1 + 0x1p-8f, 1 + 0x3p-8f, -3.5f, Float.NaN, Float.NEGATIVE_INFINITY, Float.MAX_VALUE};
        float[] back = decoded(WeightFormat.BF16, encoded(WeightFormat.BF16, values));
        assertThat(back).containsExactly(1f, 1f, 1 + 0x1p-6f, -3.5f, Float.NaN, Float.NEGATIVE_INFINITY,
                Float.POSITIVE_INFINITY);
    }

    @ParameterizedTest
    @EnumSource
    void decodesFromAnyMemoryAtUnalignedPositions(WeightFormat format) {
        int blocks = 3 * 8192 / format.blockBytes() + 5;
        long seed = 11;
        byte[] stored = finite(format, blocks, seed);
        float[] expected = decoded(format, stored);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(stored.length + 7L);
            MemorySegment.copy(MemorySegment.ofArray(stored), 0, memory, 3, stored.length);
            float[] found = new float[expected.length + 2];
            Codecs.of(format).decode(memory, 3, found, 1, expected.length);
            Same.floats(java.util.Arrays.copyOfRange(found, 1, found.length - 1), expected);
            assertThat(found[0]).isZero();
            assertThat(found[found.length - 1]).isZero();
        }
    }

    @Test
    void refusesToWriteFormatsWithoutASimpleRule() {
        assertThat(Codecs.of(WeightFormat.Q6_K).encodes()).isFalse();
        assertThatThrownBy(() -> encoded(WeightFormat.Q6_K, new float[256]))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("Q6_K");
        assertThatThrownBy(() -> encoded(WeightFormat.Q8_0, new float[33]))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("33");
    }

    /** Random bytes with the scales made finite: every half's sign and two upper exponent bits cleared. */
    private static byte[] finite(WeightFormat format, int blocks, long seed) {
        byte[] stored = new byte[blocks * format.blockBytes()];
        new Random(seed).nextBytes(stored);
        for (int i = 0; i < stored.length; i++) {
            stored[i] &= (byte) 0xbf;
        }
        return stored;
    }

    private static byte[] bytesOf(short[] values) {
        byte[] bytes = new byte[values.length * 2];
        java.nio.ByteBuffer.wrap(bytes).order(java.nio.ByteOrder.LITTLE_ENDIAN).asShortBuffer().put(values);
        return bytes;
    }

    private static float[] decoded(WeightFormat format, byte[] stored) {
        float[] values = new float[stored.length / format.blockBytes() * format.blockElements()];
        Codecs.of(format).decode(MemorySegment.ofArray(stored), 0, values, 0, values.length);
        return values;
    }

    private static byte[] encoded(WeightFormat format, float[] values) {
        byte[] stored = new byte[values.length / format.blockElements() * format.blockBytes()];
        Codecs.of(format).encode(values, 0, values.length, MemorySegment.ofArray(stored), 0);
        return stored;
    }
}
