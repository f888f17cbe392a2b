package dev.millrace.quant;

import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import java.util.Optional;

/** Consecutive rows of a weight. */
final class RowSlice extends View {
    private final Weight base;
    private final long first;

    RowSlice(String name, Weight base, long first, long count) {
        super(name, new Shape(count, base.shape().columns()), base.format());
        Objects.checkFromIndexSize(first, count, base.shape().rows());
        this.base = base;
        this.first = first;
    }

    @Override
    public Optional<MemorySegment> segment() {
        return base.segment().map(s -> s.asSlice(first * rowBytes(), bytes()));
    }

    @Override
    public boolean copyColumns(long from, long count, MemorySegment target) {
        Objects.checkFromIndexSize(from, count, shape().rows());
        return base.copyColumns(first + from, count, target);
    }

    @Override
    void copy(long from, long count, MemorySegment target) {
        base.copyRows(first + from, count, target);
    }

    @Override
    void decode(long from, long count, float[] target, int offset) {
        base.decodeRows(first + from, count, target, offset);
    }
}
