package dev.millrace.cuda;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Where every weight of a program lies in one piece of device memory, decided before any of it is allocated. Offsets
 * are bytes from its start. A weight that two nodes share is kept once.
 */
final class WeightLayout {
    private static final int ALIGNMENT = 256;

    /** Rows of a source to lay out as rows {@code rowOffset + i * rowStep} of a matrix. */
    record Copy(Weight source, Matrix target, int rowOffset, int rowStep) {}

    /** Small constants to copy as they are. */
    record Constant(long offset, MemorySegment bytes) {}

    private record Key(List<Object> sources, boolean interleaved) {}

    private final Map<Key, Matrix> matrices = new HashMap<>();
    private final List<Copy> copies = new ArrayList<>();
    private final List<Constant> constants = new ArrayList<>();
    private long end;

    /** A matrix of one weight. */
    Matrix matrix(Weight weight) {
        return matrix(List.of(weight), false);
    }

    /**
     * The rows of several weights of one format and width as one matrix, one after the other or, interleaved, in turns.
     */
    Matrix matrix(List<Weight> parts, boolean interleaved) {
        Key key = new Key(parts.stream().map(WeightLayout::identity).toList(), interleaved);
        return matrices.computeIfAbsent(key, k -> add(parts, interleaved));
    }

    private Matrix add(List<Weight> parts, boolean interleaved) {
        int rows = 0;
        for (Weight part : parts) {
            rows = Math.addExact(rows, Math.toIntExact(part.shape().rows()));
        }
        int columns = Math.toIntExact(parts.getFirst().shape().columns());
        Format format = format(parts.getFirst());
        long data = take(format.dataBytes(rows, columns));
        long scales = take(format.scaleBytes(rows, columns));
        Matrix matrix = new Matrix(data, scales, rows, columns, format);
        int at = 0;
        for (int i = 0; i < parts.size(); i++) {
            copies.add(new Copy(parts.get(i), matrix, interleaved ? i : at, interleaved ? parts.size() : 1));
            at += (int) parts.get(i).shape().rows();
        }
        return matrix;
    }

    /** The layout that {@code weight} gets on the device. Formats that only tables have are kept as float32. */
    static Format format(Weight weight) {
        return Format.supported().contains(weight.format()) ? Format.of(weight.format()) : Format.F32;
    }

    /** Two views of the same bytes are one weight. */
    private static Object identity(Weight weight) {
        record Bytes(long address, WeightFormat format, Shape shape) {}
        return weight.segment()
                .filter(MemorySegment::isNative)
                .<Object>map(s -> new Bytes(s.address(), weight.format(), weight.shape()))
                .orElse(weight);
    }

    long floats(float[] values) {
        return constant(MemorySegment.ofArray(values));
    }

    long doubles(double[] values) {
        return constant(MemorySegment.ofArray(values));
    }

    /** Whole numbers in [0, limit) that a weight holds as floats. */
    long indices(Weight weight, int limit) {
        float[] order = weight.floats();
        int[] indices = new int[order.length];
        for (int i = 0; i < order.length; i++) {
            indices[i] = (int) order[i];
            if (indices[i] != order[i] || indices[i] < 0 || indices[i] >= limit) {
                throw new MillraceException(
                        weight.name() + "[" + i + "] = " + order[i] + ": must be a whole number from 0 to " + (limit - 1));
            }
        }
        return constant(MemorySegment.ofArray(indices));
    }

    private long constant(MemorySegment bytes) {
        long offset = take(bytes.byteSize());
        constants.add(new Constant(offset, bytes));
        return offset;
    }

    private long take(long bytes) {
        long offset = end;
        end = Format.roundUp(Math.addExact(end, bytes), ALIGNMENT);
        return offset;
    }

    /** Bytes of all of it. */
    long bytes() {
        return Math.max(end, ALIGNMENT);
    }

    List<Copy> copies() {
        return copies;
    }

    List<Constant> constants() {
        return constants;
    }
}
