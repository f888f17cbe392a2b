package dev.millrace.models.quantize;

import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.models.checkpoint.SafetensorsWriter;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * A layer of Q4_0 or Q8_0 blocks written as a symmetric GPTQ layer with groups of 32, which holds the same numbers: {@code
 * qweight}, {@code qzeros}, {@code scales} and {@code g_idx} of checkpoint_format gptq.
 */
final class GptqLayer {
    private static final ValueLayout.OfShort HALF = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int ROWS = 64;

    private GptqLayer() {}

    /** Whether a layer of that many outputs and inputs can be packed. */
    static boolean fits(Weight weight) {
        return weight.shape().columns() % 32 == 0 && weight.shape().rows() % 8 == 0;
    }

    /** @param blocks [out, in] of format Q4_0 or Q8_0 */
    static void write(String prefix, Weight blocks, SafetensorsWriter to) {
        int bits = blocks.format() == WeightFormat.Q4_0 ? 4 : 8;
        int pack = 32 / bits;
        int in = Math.toIntExact(blocks.shape().columns());
        int out = Math.toIntExact(blocks.shape().rows());
        int groups = in / 32;
        int[] words = new int[Math.multiplyExact(in / pack, out)];
        MemorySegment scales = MemorySegment.ofArray(new byte[Math.multiplyExact(groups * 2, out)]);
        byte[] rows = new byte[Math.toIntExact(ROWS * (blocks.bytes() / out))];
        MemorySegment segment = MemorySegment.ofArray(rows);
        for (int from = 0; from < out; from += ROWS) {
            int some = Math.min(ROWS, out - from);
            blocks.copyRows(from, some, segment);
            int at = 0;
            for (int o = from; o < from + some; o++) {
                for (int group = 0; group < groups; group++, at += blocks.format().blockBytes()) {
                    scales.set(HALF, 2L * ((long) group * out + o), segment.get(HALF, at));
                    for (int j = 0; j < 32; j++) {
                        int q = bits == 4
                                ? rows[at + 2 + j % 16] >> j / 16 * 4 & 15
                                : rows[at + 2 + j] + 128;
                        int i = group * 32 + j;
                        words[i / pack * out + o] |= q << i % pack * bits;
                    }
                }
            }
        }
        int[] zeros = new int[Math.multiplyExact(groups, out / pack)];
        Arrays.fill(zeros, bits == 4 ? 0x77777777 : 0x7f7f7f7f);
        int[] index = new int[in];
        Arrays.setAll(index, i -> i / 32);
        to.add(prefix + ".qweight", words, in / pack, out);
        to.add(prefix + ".qzeros", zeros, groups, out / pack);
        to.raw(prefix + ".scales", "F16", scales, groups, out);
        to.add(prefix + ".g_idx", index, in);
    }
}
