package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.Views;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A tensor as it lies in a checkpoint file.
 *
 * @param file where it lies, for messages
 * @param type the file's own name of the element type: F32, I32, U8, Q4_K, ...
 * @param format how to read it as a weight; empty for integers and other types that are no weights
 * @param dims the outermost dimension first; empty for a scalar
 * @param data its bytes, little-endian, valid while the checkpoint is open
 */
public record Tensor(
        Path file, String name, String type, Optional<WeightFormat> format, List<Long> dims, MemorySegment data) {
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    public Tensor {
        dims = List.copyOf(dims);
    }

    public long elements() {
        return dims.stream().mapToLong(Long::longValue).reduce(1, Math::multiplyExact);
    }

    /**
     * The tensor as a weight: the last dimension becomes the columns, the others together the rows, and a vector has one
     * row.
     *
     * @throws MillraceException when it is empty or of a type that is no weight
     */
    public Weight weight() {
        WeightFormat found = format.orElseThrow(() -> new MillraceException(
                at() + ": type " + type + " cannot be read as a weight; f32, f16, bf16 and ggml's blocks can"));
        if (elements() == 0) {
            throw new MillraceException(at() + ": shape " + dims + " is empty");
        }
        long columns = dims.isEmpty() ? 1 : dims.getLast();
        return Views.of(name, new Shape(elements() / columns, columns), found, data);
    }

    /**
     * The elements of an I32, I64 or U8 tensor as ints.
     *
     * @throws MillraceException when it has another type or a number does not fit
     */
    public int[] ints() {
        int[] values = new int[length()];
        switch (type) {
            case "I32" -> MemorySegment.copy(data, INT, 0, values, 0, values.length);
            case "I64" -> {
                for (int i = 0; i < values.length; i++) {
                    long value = data.get(LONG, 8L * i);
                    if (value != (int) value) {
                        throw new MillraceException(at() + ": element " + i + " is " + value + ", out of an int's range");
                    }
                    values[i] = (int) value;
                }
            }
            case "U8" -> {
                for (int i = 0; i < values.length; i++) {
                    values[i] = data.get(ValueLayout.JAVA_BYTE, i) & 0xff;
                }
            }
            default -> throw new MillraceException(at() + ": type " + type + " where whole numbers were expected");
        }
        return values;
    }

    private int length() {
        if (elements() > 1 << 30) {
            throw new MillraceException(at() + ": " + elements() + " elements are too many to read at once");
        }
        return (int) elements();
    }

    /** File and name, for messages. */
    String at() {
        return file + ": tensor " + name;
    }
}
