package dev.millrace.quant;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Rows of several weights, one below the other. */
final class RowConcat extends View {
    private final List<Weight> parts;

    RowConcat(String name, List<Weight> parts) {
        super(name, joined(name, parts), parts.getFirst().format());
        this.parts = List.copyOf(parts);
    }

    private static Shape joined(String name, List<Weight> parts) {
        Weight first = parts.getFirst();
        long rows = 0;
        for (Weight part : parts) {
            if (part.format() != first.format() || part.shape().columns() != first.shape().columns()) {
                throw new MillraceException(name + ": cannot join " + first.name() + " " + first.shape() + " "
                        + first.format() + " and " + part.name() + " " + part.shape() + " " + part.format());
            }
            rows = Math.addExact(rows, part.shape().rows());
        }
        return new Shape(rows, first.shape().columns());
    }

    @Override
    void copy(long from, long count, MemorySegment target) {
        each(from, count, (part, first, some, done) -> part.copyRows(first, some, target.asSlice(done * rowBytes())));
    }

    @Override
    void decode(long from, long count, float[] target, int offset) {
        int columns = (int) shape().columns();
        each(from, count, (part, first, some, done) ->
                part.decodeRows(first, some, target, Math.toIntExact(offset + done * columns)));
    }

    private interface Reader {
        void read(Weight part, long first, long some, long done);
    }

    private void each(long from, long count, Reader reader) {
        long done = 0;
        long start = 0;
        for (Weight part : parts) {
            long rows = part.shape().rows();
            long first = from + done - start;
            if (first < rows && done < count) {
                long some = Math.min(rows - first, count - done);
                reader.read(part, first, some, done);
                done += some;
            }
            start += rows;
        }
    }
}
