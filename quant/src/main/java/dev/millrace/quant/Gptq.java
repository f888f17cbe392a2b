package dev.millrace.quant;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Optional;

/**
 * A linear layer quantized by GPTQ (Frantar et al., 2022), seen as weights.
 *
 * @param exact F32 [out, in] in the natural order of columns, each element scale * (q - zero)
 * @param blocks the same numbers as blocks whose columns are in {@code order}: Q4_0 where every zero point is 8, Q4_1
 *     where not (its minimum -scale * zero is rounded to f16), Q8_0 for 8 bits with zero points of 128. Empty where no
 *     block format holds them: 8 bits with other zero points, or groups that do not fill blocks of 32
 * @param order column i of {@code blocks} is column {@code order[i]} of {@code exact}, so the input must be permuted by
 *     it; empty where the columns are in their natural order. Resolves act-order, whose groups lie scattered
 */
public record Gptq(Weight exact, Optional<Weight> blocks, Optional<int[]> order) {

    /**
     * The packed tensors of one layer.
     *
     * @param bits 4 or 8
     * @param weights I32 [in / (32 / bits), out], the first of the packed inputs in the lowest bits
     * @param zeros I32 [groups, out / (32 / bits)], the first of the packed outputs in the lowest bits
     * @param scales [groups, out] in a floating-point format
     * @param groups for every input, the group whose scale and zero point it has
     * @param zerosMinusOne whether zero points are stored less one (checkpoint format {@code gptq}, not {@code gptq_v2})
     */
    public record Packed(
            String name,
            int bits,
            MemorySegment weights,
            MemorySegment zeros,
            Weight scales,
            int[] groups,
            boolean zerosMinusOne) {
        public Packed {
            if (bits != 4 && bits != 8) {
                throw new MillraceException(name + ": GPTQ with " + bits + " bits is not read, 4 and 8 bits are");
            }
            int pack = 32 / bits;
            long in = groups.length;
            long out = scales.shape().columns();
            if (in % pack != 0 || out % pack != 0) {
                throw new MillraceException(name + " [" + out + ", " + in + "]: both sizes must be multiples of " + pack);
            }
            if (weights.byteSize() != in / pack * out * 4) {
                throw new MillraceException(name + ": qweight has " + weights.byteSize() + " bytes, [" + in / pack + ", "
                        + out + "] were expected");
            }
            if (zeros.byteSize() != scales.shape().rows() * (out / pack) * 4) {
                throw new MillraceException(name + ": qzeros has " + zeros.byteSize() + " bytes, ["
                        + scales.shape().rows() + ", " + out / pack + "] were expected");
            }
            for (int i = 0; i < groups.length; i++) {
                if (groups[i] < 0 || groups[i] >= scales.shape().rows()) {
                    throw new MillraceException(name + ": g_idx[" + i + "] is " + groups[i] + ", of "
                            + scales.shape().rows() + " groups");
                }
            }
            groups = groups.clone();
        }

        Shape shape() {
            return new Shape(scales.shape().columns(), groups.length);
        }

        /** Zero points of outputs {@code [from, from + count)} of a group. */
        void zeros(int group, int from, int count, int[] target, int offset) {
            int pack = 32 / bits;
            int mask = (1 << bits) - 1;
            int less = zerosMinusOne ? 1 : 0;
            long row = (long) group * (scales.shape().columns() / pack);
            for (int i = 0; i < count; i++) {
                int word = zeros.get(GptqRows.INT, 4 * (row + (from + i) / pack));
                target[offset + i] = (word >> (from + i) % pack * bits) + less & mask;
            }
        }

        /** Whether every zero point is in the middle of the range. */
        boolean symmetric() {
            int out = Math.toIntExact(scales.shape().columns());
            int[] row = new int[out];
            for (int group = 0; group < scales.shape().rows(); group++) {
                zeros(group, 0, out, row, 0);
                for (int zero : row) {
                    if (zero != 1 << bits - 1) {
                        return false;
                    }
                }
            }
            return true;
        }
    }

    /** Reads the zero points to choose the block format; everything else is read when rows are asked for. */
    public static Gptq of(Packed packed) {
        int[] order = byGroup(packed.groups());
        Weight exact = new GptqRows(packed, WeightFormat.F32, null);
        WeightFormat format = packed.symmetric()
                ? packed.bits() == 4 ? WeightFormat.Q4_0 : WeightFormat.Q8_0
                : packed.bits() == 4 ? WeightFormat.Q4_1 : null;
        if (format == null || !fillsBlocks(packed.groups(), order)) {
            return new Gptq(exact, Optional.empty(), Optional.empty());
        }
        boolean natural = true;
        for (int i = 0; i < order.length; i++) {
            natural &= order[i] == i;
        }
        Weight blocks = new GptqRows(packed, format, order);
        return new Gptq(exact, Optional.of(blocks), natural ? Optional.empty() : Optional.of(order));
    }

    /** The inputs sorted by group, in their old order within a group. */
    private static int[] byGroup(int[] groups) {
        long[] keys = new long[groups.length];
        for (int i = 0; i < keys.length; i++) {
            keys[i] = (long) groups[i] << 32 | i;
        }
        Arrays.sort(keys);
        return Arrays.stream(keys).mapToInt(key -> (int) key).toArray();
    }

    private static boolean fillsBlocks(int[] groups, int[] order) {
        if (order.length % 32 != 0) {
            return false;
        }
        for (int i = 0; i < order.length; i++) {
            if (groups[order[i]] != groups[order[i & -32]]) {
                return false;
            }
        }
        return true;
    }
}
