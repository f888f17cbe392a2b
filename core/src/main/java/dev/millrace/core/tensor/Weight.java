package dev.millrace.core.tensor;

import java.lang.foreign.MemorySegment;
import java.util.Optional;

/**
 * One parameter of a model: {@link #shape} elements in {@link #format}, readable by rows.
 *
 * <p>A weight is a view: nothing is read, copied, transposed, joined or quantized before an executor asks for rows.
 * Views are safe to read from several threads at once. The owner (a checkpoint) must stay open while they are read.
 */
public interface Weight {
    /** The name the checkpoint gives it, for messages. */
    String name();

    Shape shape();

    WeightFormat format();

    /**
     * The bytes of the whole weight in {@link #format} layout, row after row, when they lie so in memory or in a mapped
     * file; empty for views that compute their rows.
     */
    default Optional<MemorySegment> segment() {
        return Optional.empty();
    }

    /**
     * Writes the bytes of rows {@code [from, from + count)} in {@link #format} layout to {@code target} from its start.
     */
    void copyRows(long from, long count, MemorySegment target);

    /**
     * Writes rows {@code [from, from + count)} column by column, {@code count} elements each, where the weight is stored
     * so and its elements are plain floats; does nothing and returns false elsewhere.
     */
    default boolean copyColumns(long from, long count, MemorySegment target) {
        return false;
    }

    /** Writes rows {@code [from, from + count)} as floats to {@code target} from {@code offset}, row after row. */
    void decodeRows(long from, long count, float[] target, int offset);

    /** Bytes the weight takes in its format. */
    default long bytes() {
        return Math.multiplyExact(shape().rows(), format().rowBytes(shape().columns()));
    }

    /** All elements as floats; for vectors and small matrices. */
    default float[] floats() {
        float[] all = new float[Math.toIntExact(shape().elements())];
        decodeRows(0, shape().rows(), all, 0);
        return all;
    }
}
