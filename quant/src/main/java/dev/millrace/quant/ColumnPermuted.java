package dev.millrace.quant;

import dev.millrace.core.tensor.Weight;

/** The columns of a weight of plain floats in another order. */
final class ColumnPermuted extends View {
    private final Weight base;
    private final int[] order;

    ColumnPermuted(String name, Weight base, int[] order) {
        super(name, base.shape(), plain(base, "permuted by columns").format());
        this.base = base;
        this.order = permutation(base, order, base.shape().columns());
    }

    @Override
    void decode(long from, long count, float[] target, int offset) {
        float[] row = new float[order.length];
        for (long r = 0; r < count; r++, offset += order.length) {
            base.decodeRows(from + r, 1, row, 0);
            for (int i = 0; i < order.length; i++) {
                target[offset + i] = row[order[i]];
            }
        }
    }
}
