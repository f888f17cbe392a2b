package dev.millrace.quant;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GptqTest {
    /** A layer drawn at random, packed here by the definition, with what its elements are. */
    private static final class Layer {
        final int in;
        final int out;
        final int bits;
        final int[] groups;
        final int[][] zero;
        final float[][] scale;
        final int[][] q;
        final boolean minusOne;

        Layer(int in, int out, int bits, int groupSize, boolean actOrder, boolean symmetric, boolean minusOne) {
            Random random = new Random(in * 31L + out + bits + groupSize);
            this.in = in;
            this.out = out;
            this.bits = bits;
            this.minusOne = minusOne;
            int count = in / groupSize;
            groups = new int[in];
            for (int i = 0; i < in; i++) {
                groups[i] = i / groupSize;
            }
            for (int i = in - 1; actOrder && i > 0; i--) {
                int j = random.nextInt(i + 1);
                int swap = groups[i];
                groups[i] = groups[j];
                groups[j] = swap;
            }
            int range = 1 << bits;
            zero = new int[count][out];
            scale = new float[count][out];
            q = new int[out][in];
            for (int g = 0; g < count; g++) {
                for (int o = 0; o < out; o++) {
                    zero[g][o] = symmetric ? range / 2 : random.nextInt(range);
                    scale[g][o] = Float.float16ToFloat(Float.floatToFloat16(0.001f + 0.01f * random.nextFloat()));
                }
            }
            for (int[] row : q) {
                for (int i = 0; i < in; i++) {
                    row[i] = random.nextInt(range);
                }
            }
        }

        float element(int o, int i) {
            return scale[groups[i]][o] * (q[o][i] - zero[groups[i]][o]);
        }

        Gptq.Packed packed() {
            int pack = 32 / bits;
            int[] weights = new int[in / pack * out];
            for (int o = 0; o < out; o++) {
                for (int i = 0; i < in; i++) {
                    weights[i / pack * out + o] |= q[o][i] << i % pack * bits;
                }
            }
            int[] zeros = new int[zero.length * out / pack];
            float[] scales = new float[zero.length * out];
            for (int g = 0; g < zero.length; g++) {
                for (int o = 0; o < out; o++) {
                    int stored = zero[g][o] - (minusOne ? 1 : 0) & (1 << bits) - 1;
                    zeros[g * (out / pack) + o / pack] |= stored << o % pack * bits;
                    scales[g * out + o] = scale[g][o];
                }
            }
            Weight halves = Views.converted(Views.of("scales", new Shape(zero.length, out), scales), WeightFormat.F16);
            return new Gptq.Packed("layer", bits, words(weights), words(zeros), halves, groups, minusOne);
        }

        private static MemorySegment words(int[] values) {
            ByteBuffer bytes = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
            bytes.asIntBuffer().put(values);
            return MemorySegment.ofArray(bytes.array());
        }
    }

    @ParameterizedTest
    @CsvSource({
        // in, out, bits, group, act-order, symmetric, zeros less one, blocks
        "128, 24, 4, 32, false, true, true, Q4_0",
        "128, 24, 4, 32, false, true, false, Q4_0",
        "192, 40, 4, 64, true, true, true, Q4_0",
        "256, 8, 4, 128, true, false, true, Q4_1",
        "256, 8, 4, 128, false, false, false, Q4_1",
        "96, 16, 4, 96, false, false, true, Q4_1",
        "128, 12, 8, 32, true, true, true, Q8_0",
        "64, 4, 8, 64, false, true, false, Q8_0",
        "128, 12, 8, 32, true, false, true, ",
        "4096, 200, 4, 128, true, true, true, Q4_0",
    })
    void unpacksToTheDefinition(
            int in, int out, int bits, int group, boolean actOrder, boolean symmetric, boolean minusOne, WeightFormat blocks) {
        Layer layer = new Layer(in, out, bits, group, actOrder, symmetric, minusOne);
        Gptq gptq = Gptq.of(layer.packed());
        float[] expected = new float[out * in];
        for (int o = 0; o < out; o++) {
            for (int i = 0; i < in; i++) {
                expected[o * in + i] = layer.element(o, i);
            }
        }
        assertThat(gptq.exact().shape()).isEqualTo(new Shape(out, in));
        Same.floats(gptq.exact().floats(), expected);
        assertThat(gptq.blocks().map(Weight::format).orElse(null)).isEqualTo(blocks);
        if (blocks == null) {
            assertThat(gptq.order()).isEmpty();
            return;
        }
        assertThat(gptq.order().isPresent()).isEqualTo(actOrder);
        Weight ordered = gptq.order().map(order -> Views.permutedColumns("p", gptq.exact(), order)).orElse(gptq.exact());
        Weight found = gptq.blocks().orElseThrow();
        if (blocks == WeightFormat.Q4_1) {
            assertThat(QuantError.between(ordered, found).relativeRms()).isLessThan(0x1p-11);
        } else {
            Same.floats(found.floats(), ordered.floats());
        }
        for (int from = 0; from + 3 <= out; from += 3) {
            byte[] some = new byte[(int) (3 * blocks.rowBytes(in))];
            found.copyRows(from, 3, MemorySegment.ofArray(some));
            float[] rows = new float[3 * in];
            found.decodeRows(from, 3, rows, 0);
            Same.floats(Views.of("r", new Shape(3, in), blocks, MemorySegment.ofArray(some)).floats(), rows);
        }
    }

    @Test
    void groupsThatFillNoBlocksKeepOnlyTheExactForm() {
        Layer layer = new Layer(96, 8, 4, 48, false, true, true);
        Gptq gptq = Gptq.of(layer.packed());
        assertThat(gptq.blocks()).isEmpty();
        assertThat(gptq.exact().floats()[95]).isEqualTo(layer.element(0, 95));
    }

    @Test
    void packedTensorsThatDoNotFitAreRefused() {
        Gptq.Packed good = new Layer(64, 8, 4, 32, false, true, true).packed();
        int[] groups = good.groups();
        groups[5] = 2;
        assertThatThrownBy(() -> copy(good, 4, good.weights(), good.zeros(), groups)).hasMessageContaining("g_idx[5] is 2");
        groups[5] = -1;
        assertThatThrownBy(() -> copy(good, 4, good.weights(), good.zeros(), groups)).hasMessageContaining("g_idx[5] is -1");
        assertThatThrownBy(() -> copy(good, 3, good.weights(), good.zeros(), good.groups())).hasMessageContaining("3 bits");
        assertThatThrownBy(() -> copy(good, 4, good.zeros(), good.zeros(), good.groups()))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("qweight");
        assertThatThrownBy(() -> copy(good, 4, good.weights(), good.weights(), good.groups())).hasMessageContaining("qzeros");
        assertThatThrownBy(() -> copy(good, 4, good.weights(), good.zeros(), new int[60])).hasMessageContaining("multiples of 8");
    }

    private static Gptq.Packed copy(Gptq.Packed of, int bits, MemorySegment weights, MemorySegment zeros, int[] groups) {
        return new Gptq.Packed("layer", bits, weights, zeros, of.scales(), groups, true);
    }
}
