package dev.millrace.quant;

import dev.millrace.core.tensor.Weight;
import java.lang.foreign.MemorySegment;

/** The rows of a weight in another order. */
final class RowPermuted extends View {
    private final Weight base;
    private final int[] order;

    RowPermuted(String name, Weight base, int[] order) {
        super(name, base.shape(), base.format());
        this.base = base;
        this.order = permutation(base, order, base.shape().rows());
    }

    @Override
    void copy(long from, long count, MemorySegment target) {
        for (int i = 0; i < count; i++) {
            base.copyRows(order[(int) from + i], 1, target.asSlice(i * rowBytes(), rowBytes()));
        }
    }

    @Override
    void decode(long from, long count, float[] target, int offset) {
        int columns = (int) shape().columns();
        for (int i = 0; i < count; i++) {
            base.decodeRows(order[(int) from + i], 1, target, offset + i * columns);
        }
    }
}
