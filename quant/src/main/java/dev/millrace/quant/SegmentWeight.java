package dev.millrace.quant;

import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.Optional;

/** Rows as they lie in memory or in a mapped file. */
final class SegmentWeight extends View {
    private final MemorySegment segment;

    SegmentWeight(String name, Shape shape, WeightFormat format, MemorySegment segment) {
        super(name, shape, format);
        if (segment.byteSize() != bytes()) {
            throw new IllegalArgumentException(
                    name + ": " + shape + " " + format + " takes " + bytes() + " bytes, not " + segment.byteSize());
        }
        this.segment = segment.asReadOnly();
    }

    @Override
    public Optional<MemorySegment> segment() {
        return Optional.of(segment);
    }

    @Override
    void copy(long from, long count, MemorySegment target) {
        MemorySegment.copy(segment, from * rowBytes(), target, 0, count * rowBytes());
    }

    @Override
    void decode(long from, long count, float[] target, int offset) {
        int n = Math.toIntExact(count * shape().columns());
        Codecs.of(format()).decode(segment, from * rowBytes(), target, offset, n);
    }
}
