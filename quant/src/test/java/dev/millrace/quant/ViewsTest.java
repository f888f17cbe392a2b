package dev.millrace.quant;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class ViewsTest {
    @ParameterizedTest
    @CsvSource({"1,1", "7,5", "64,64", "65,129", "200,3", "3,200"})
    void transposesAtOddSizesInAnyStretchOfRows(int rows, int columns) {
        for (WeightFormat format : List.of(WeightFormat.F32, WeightFormat.F16, WeightFormat.BF16)) {
            Weight base = stored("w", rows, columns, format, 3);
            float[] expected = new float[rows * columns];
            float[] values = base.floats();
            for (int r = 0; r < rows; r++) {
                for (int c = 0; c < columns; c++) {
                    expected[c * rows + r] = values[r * columns + c];
                }
            }
            Weight view = Views.transposed("t", base);
            assertThat(view.shape()).isEqualTo(new Shape(columns, rows));
            assertReads(view, expected);
            assertReads(Views.transposed("t", computed(base)), expected);
            assertThat(view.copyColumns(0, 0, MemorySegment.NULL)).isTrue();
        }
    }

    @Test
    void slicesJoinsAndPermutesRowsOfBlocksByteForByte() {
        for (WeightFormat format : List.of(WeightFormat.F32, WeightFormat.Q4_0, WeightFormat.Q8_0)) {
            Weight a = stored("a", 7, 96, format, 1);
            Weight b = stored("b", 5, 96, format, 2);
            Weight c = stored("c", 1, 96, format, 4);
            Weight joined = Views.concatenated("abc", List.of(a, b, c));
            float[] all = new float[13 * 96];
            System.arraycopy(a.floats(), 0, all, 0, 7 * 96);
            System.arraycopy(b.floats(), 0, all, 7 * 96, 5 * 96);
            System.arraycopy(c.floats(), 0, all, 12 * 96, 96);
            assertReads(joined, all);
            assertReads(Views.rows("s", joined, 6, 4), Arrays.copyOfRange(all, 6 * 96, 10 * 96));
            assertReads(Views.named("n", b), b.floats());
            int[] order = order(13, 8);
            float[] permuted = new float[all.length];
            for (int i = 0; i < 13; i++) {
                System.arraycopy(all, order[i] * 96, permuted, i * 96, 96);
            }
            assertReads(Views.permutedRows("p", joined, order), permuted);
            assertThat(Views.rows("s", a, 2, 3).segment().orElseThrow().byteSize()).isEqualTo(3 * format.rowBytes(96));
        }
    }

    @Test
    void permutesColumns() {
        Weight base = stored("w", 4, 37, WeightFormat.F16, 5);
        int[] order = order(37, 6);
        float[] values = base.floats();
        float[] expected = new float[values.length];
        for (int r = 0; r < 4; r++) {
            for (int i = 0; i < 37; i++) {
                expected[r * 37 + i] = values[r * 37 + order[i]];
            }
        }
        assertReads(Views.permutedColumns("p", base, order), expected);
    }

    @Test
    void takesElementsOfAVector() {
        Weight vector = Views.vector("b", 0, 1, 2, 3, 4, 5, 6);
        assertThat(Views.elements("k", vector, 2, 3).shape()).isEqualTo(Shape.vector(3));
        assertReads(Views.elements("k", vector, 2, 3), 2, 3, 4);
        assertReads(Views.elements("k", vector, 6, 1), 6);
        assertThatThrownBy(() -> Views.elements("k", stored("w", 2, 4, WeightFormat.F32, 1), 0, 1))
                .hasMessageContaining("no vector");
    }

    @ParameterizedTest
    @EnumSource(names = {"F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"})
    void convertsOnReadToWhatTheCodecWrites(WeightFormat format) {
        Weight base = stored("w", 5, 2080, WeightFormat.F32, 9);
        byte[] whole = new byte[(int) (5 * format.rowBytes(2080))];
        Codecs.of(format).encode(base.floats(), 0, 5 * 2080, MemorySegment.ofArray(whole), 0);
        Weight stored = Views.of("q", base.shape(), format, MemorySegment.ofArray(whole));
        Weight view = Views.converted(base, format);
        assertThat(view.format()).isEqualTo(format);
        assertReads(view, stored.floats());
        Same.bytes(bytes(view, 0, 5), whole);
    }

    @Test
    void carriesQuantizedNumbersOverWithoutRounding() {
        Golden ggml = Golden.open("blocks");
        Golden more = Golden.open("more-blocks");
        for (WeightFormat format : List.of(WeightFormat.Q4_0, WeightFormat.Q5_0, WeightFormat.IQ4_NL)) {
            Golden golden = format == WeightFormat.IQ4_NL ? more : ggml;
            Weight base = golden(golden, format);
            Weight view = Views.converted(base, WeightFormat.Q8_0);
            assertReads(view, golden.floats(format + ".dequantized"));
        }
    }

    @Test
    void carriesGroupsOfSuperBlocksOverWithinTheRoundingOfTheirScales() {
        Golden ggml = Golden.open("blocks");
        assertScalesOnly(golden(ggml, WeightFormat.Q4_K), WeightFormat.Q4_1);
        assertScalesOnly(golden(ggml, WeightFormat.Q5_K), WeightFormat.Q5_1);
        assertScalesOnly(golden(Golden.open("more-blocks"), WeightFormat.IQ4_XS), WeightFormat.Q8_0);
    }

    private static void assertScalesOnly(Weight base, WeightFormat format) {
        Weight view = Views.converted(base, format);
        float[] exact = base.floats();
        float[] found = view.floats();
        for (int block = 0; block < exact.length; block += 32) {
            float largest = 0;
            for (int i = 0; i < 32; i++) {
                largest = Math.max(largest, Math.abs(exact[block + i]));
            }
            for (int i = 0; i < 32; i++) {
                // the scale times q and the minimum, both off by up to 2^-11; q * scale is at most twice the range
                assertThat(found[block + i]).isCloseTo(exact[block + i], within(largest * 0x1p-11f * 4));
            }
        }
    }

    private static org.assertj.core.data.Offset<Float> within(float tolerance) {
        return org.assertj.core.data.Offset.offset(tolerance);
    }

    @Test
    void refusesWhatBlocksCannotDo() {
        Weight blocks = stored("blk", 4, 64, WeightFormat.Q8_0, 1);
        assertThatThrownBy(() -> Views.transposed("t", blocks)).isInstanceOf(MillraceException.class).hasMessageContaining("blk");
        assertThatThrownBy(() -> Views.permutedColumns("t", blocks, order(64, 1))).isInstanceOf(MillraceException.class);
        Weight odd = stored("odd", 4, 33, WeightFormat.F32, 1);
        assertThatThrownBy(() -> Views.converted(odd, WeightFormat.Q8_0))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("odd [4, 33]")
                .hasMessageContaining("multiple of Q8_0's block of 32");
        assertThatThrownBy(() -> Views.converted(stored("w", 1, 256, WeightFormat.F32, 1), WeightFormat.Q4_K))
                .isInstanceOf(MillraceException.class);
        assertThatThrownBy(() -> Views.concatenated("j", List.of(blocks, stored("w", 4, 64, WeightFormat.F32, 1))))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("blk");
        assertThatThrownBy(() -> Views.permutedRows("p", blocks, new int[] {0, 1, 1, 3}))
                .isInstanceOf(MillraceException.class);
        assertThatThrownBy(() -> Views.of("w", new Shape(2, 32), WeightFormat.Q8_0, MemorySegment.ofArray(new byte[67])))
                .isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> blocks.copyRows(3, 2, MemorySegment.ofArray(new byte[1000])))
                .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> blocks.decodeRows(0, 1, new float[63], 0))
                .isInstanceOf(IndexOutOfBoundsException.class);
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"})
    void randomWeightsAreTheSameInAnyOrderOfReadingAndOfTheStatedSize(WeightFormat format) {
        Weight random = Views.random("r", new Shape(97, format.quantized() ? 2048 : 2049), format, 42, 0.02f);
        float[] all = random.floats();
        assertReads(random, all);
        Same.floats(Views.random("r", random.shape(), format, 42, 0.02f).floats(), all);
        assertThat(Views.random("s", random.shape(), format, 42, 0.02f).floats()).isNotEqualTo(all);
        assertThat(Views.random("r", random.shape(), format, 43, 0.02f).floats()).isNotEqualTo(all);
        double sum = 0;
        double squares = 0;
        for (float v : all) {
            sum += v;
            squares += (double) v * v;
        }
        // the mean of 200,000 draws lies within 5 standard errors, blocks of 32 share a sign
        assertThat(sum / all.length).isBetween(-0.0008, 0.0008);
        assertThat(Math.sqrt(squares / all.length)).isBetween(0.0195, 0.0205);
    }

    @Test
    void convertingARandomWeightDrawsItInThatFormat() {
        Weight random = Views.random("r", new Shape(3, 64), WeightFormat.F16, 1, 0.02f);
        assertThat(Views.converted(random, WeightFormat.Q8_0).floats())
                .containsExactly(Views.random("r", new Shape(3, 64), WeightFormat.Q8_0, 1, 0.02f).floats());
    }

    @Test
    void errorsAreThoseOfTheDefinition() {
        Weight exact = Views.vector("a", 3, -4, 0, 0);
        Weight near = Views.vector("b", 3, -4, 0.5f, -1);
        QuantError error = QuantError.between(exact, near);
        assertThat(error.maxAbs()).isEqualTo(1);
        assertThat(error.rms()).isEqualTo(Math.sqrt(1.25 / 4));
        assertThat(error.relativeRms()).isEqualTo(Math.sqrt(1.25 / 25));
        assertThat(QuantError.between(exact, exact)).isEqualTo(new QuantError(0, 0, 0));
    }

    @Test
    void quantizationErrorsLieWhereTheFormatsPutThem() {
        Weight normal = stored("w", 64, 4096, WeightFormat.F32, 21);
        // step / sqrt(12) over the deviation, the step being the block's largest over 127, 16 or 8
        assertThat(QuantError.between(normal, Views.converted(normal, WeightFormat.Q8_0)).relativeRms()).isBetween(0.004, 0.006);
        assertThat(QuantError.between(normal, Views.converted(normal, WeightFormat.Q5_0)).relativeRms()).isBetween(0.03, 0.05);
        assertThat(QuantError.between(normal, Views.converted(normal, WeightFormat.Q4_0)).relativeRms()).isBetween(0.06, 0.10);
    }

    /** Whole, row by row, in every pair of rows, as floats and as bytes. */
    private static void assertReads(Weight weight, float... expected) {
        int rows = (int) weight.shape().rows();
        int columns = (int) weight.shape().columns();
        Same.floats(weight.floats(), expected);
        for (int count : new int[] {0, 1, 2, 3, rows}) {
            for (int from = 0; from + count <= rows; from += Math.max(1, count)) {
                float[] some = new float[count * columns + 1];
                weight.decodeRows(from, count, some, 1);
                float[] wanted = Arrays.copyOfRange(expected, from * columns, (from + count) * columns);
                Same.floats(Arrays.copyOfRange(some, 1, some.length), wanted);
                Weight again = count == 0
                        ? null
                        : Views.of("again", new Shape(count, columns), weight.format(), MemorySegment.ofArray(bytes(weight, from, count)));
                if (again != null) {
                    Same.floats(again.floats(), wanted);
                    assertColumns(weight, from, wanted);
                }
            }
        }
        weight.segment().ifPresent(s -> Same.floats(
                Views.of("s", weight.shape(), weight.format(), s).floats(), expected));
    }

    /** Where the weight can be read column by column, too, it gives the same. */
    private static void assertColumns(Weight weight, long from, float... wanted) {
        int columns = (int) weight.shape().columns();
        int count = wanted.length / columns;
        if (weight.format().quantized()) {
            assertThat(weight.copyColumns(from, count, MemorySegment.NULL)).isFalse();
            return;
        }
        MemorySegment turned = MemorySegment.ofArray(new byte[wanted.length * weight.format().blockBytes()]);
        if (weight.copyColumns(from, count, turned)) {
            float[] read = Views.of("turned", new Shape(columns, count), weight.format(), turned).floats();
            for (int i = 0; i < wanted.length; i++) {
                assertThat(read[i % columns * count + i / columns]).isEqualTo(wanted[i]);
            }
        }
    }

    private static byte[] bytes(Weight weight, long from, long count) {
        byte[] bytes = new byte[(int) (count * weight.format().rowBytes(weight.shape().columns()))];
        weight.copyRows(from, count, MemorySegment.ofArray(bytes));
        return bytes;
    }

    private static Weight stored(String name, int rows, int columns, WeightFormat format, long seed) {
        Random random = new Random(seed);
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        byte[] bytes = new byte[(int) (rows * format.rowBytes(columns))];
        Codecs.of(format).encode(values, 0, values.length, MemorySegment.ofArray(bytes), 0);
        return Views.of(name, new Shape(rows, columns), format, MemorySegment.ofArray(bytes));
    }

    /** The same rows without a segment to read from. */
    private static Weight computed(Weight base) {
        int[] identity = IntStream.range(0, (int) base.shape().rows()).toArray();
        return Views.permutedRows(base.name(), base, identity);
    }

    private static Weight golden(Golden golden, WeightFormat format) {
        return Views.of(format.name(), new Shape(8, 512), format, MemorySegment.ofArray(golden.bytes(format + ".blocks")));
    }

    private static int[] order(int n, long seed) {
        List<Integer> order = new java.util.ArrayList<>(IntStream.range(0, n).boxed().toList());
        Collections.shuffle(order, new Random(seed));
        return order.stream().mapToInt(Integer::intValue).toArray();
    }
}
