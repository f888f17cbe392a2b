package dev.millrace.quant;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/** What all views share: name, shape, format, and the check of a request before it is served. */
abstract class View implements Weight {
    /** Floats held at once while rows are converted. */
    private static final int CHUNK = 1 << 16;

    private final String name;
    private final Shape shape;
    private final WeightFormat format;

    View(String name, Shape shape, WeightFormat format) {
        this.name = name;
        this.shape = shape;
        this.format = format;
        format.rowBytes(shape.columns());
    }

    @Override
    public final String name() {
        return name;
    }

    @Override
    public final Shape shape() {
        return shape;
    }

    @Override
    public final WeightFormat format() {
        return format;
    }

    @Override
    public final void copyRows(long from, long count, MemorySegment target) {
        Objects.checkFromIndexSize(from, count, shape.rows());
        Objects.checkFromIndexSize(0, count * rowBytes(), target.byteSize());
        if (count > 0) {
            copy(from, count, target);
        }
    }

    @Override
    public final void decodeRows(long from, long count, float[] target, int offset) {
        Objects.checkFromIndexSize(from, count, shape.rows());
        Objects.checkFromIndexSize(offset, Math.multiplyExact(count, shape.columns()), (long) target.length);
        if (count > 0) {
            decode(from, count, target, offset);
        }
    }

    /** {@link #copyRows} of a checked, non-empty range; by default {@link #source} is encoded. */
    void copy(long from, long count, MemorySegment target) {
        BlockCodec codec = Codecs.of(format);
        int columns = Math.toIntExact(shape.columns());
        int step = (int) Math.clamp(CHUNK / columns, 1, count);
        float[] rows = new float[step * columns];
        for (long done = 0; done < count; done += step) {
            int some = (int) Math.min(step, count - done);
            source(from + done, some, rows, 0);
            codec.encode(rows, 0, some * columns, target, done * rowBytes());
        }
    }

    /** {@link #decodeRows} of a checked, non-empty range. */
    abstract void decode(long from, long count, float[] target, int offset);

    /** The floats to encode in {@link #copy}: the weight's own, unless it is one that rounds. */
    void source(long from, long count, float[] target, int offset) {
        decode(from, count, target, offset);
    }

    final long rowBytes() {
        return format.rowBytes(shape.columns());
    }

    /** The weight itself, of plain floats. */
    static Weight plain(Weight weight, String what) {
        if (weight.format().quantized()) {
            throw new MillraceException(weight.name() + " is " + weight.format() + ", whose blocks cannot be " + what
                    + ": convert it to f16 or f32 first");
        }
        return weight;
    }

    /** A copy of {@code order}, checked to hold every number from 0 once. */
    static int[] permutation(Weight weight, int[] order, long length) {
        boolean[] seen = new boolean[order.length];
        if (order.length != length) {
            throw new MillraceException(
                    weight.name() + " " + weight.shape() + ": an order of " + order.length + " for " + length);
        }
        for (int i : order) {
            if (i < 0 || i >= seen.length || seen[i]) {
                throw new MillraceException(weight.name() + ": " + i + " in the order is out of range or there twice");
            }
            seen[i] = true;
        }
        return order.clone();
    }

    @Override
    public String toString() {
        return name + " " + shape + " " + format;
    }
}
