package dev.millrace.quant;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * The ways to look at weights: every method returns a view that reads, converts or computes rows only when asked for
 * them, and may be read from several threads at once.
 */
public final class Views {
    private Views() {}

    /**
     * A weight whose rows lie one after another in {@code segment}.
     *
     * @throws IllegalArgumentException when the segment's size is not that of {@code shape} in {@code format}
     */
    public static Weight of(String name, Shape shape, WeightFormat format, MemorySegment segment) {
        return new SegmentWeight(name, shape, format, segment);
    }

    /** A F32 weight over an array, which is not copied. */
    public static Weight of(String name, Shape shape, float[] values) {
        return new SegmentWeight(name, shape, WeightFormat.F32, MemorySegment.ofArray(values));
    }

    /** A F32 vector over an array, which is not copied. */
    public static Weight vector(String name, float... values) {
        return of(name, Shape.vector(values.length), values);
    }

    /** The same weight under another name. */
    public static Weight named(String name, Weight weight) {
        return new RowSlice(name, weight, 0, weight.shape().rows());
    }

    /** Rows {@code [from, from + count)} of {@code weight}. */
    public static Weight rows(String name, Weight weight, long from, long count) {
        return new RowSlice(name, weight, from, count);
    }

    /** Elements {@code [from, from + count)} of a vector. */
    public static Weight elements(String name, Weight vector, long from, long count) {
        if (vector.shape().rows() != 1) {
            throw new IllegalArgumentException(vector.name() + " " + vector.shape() + " is no vector");
        }
        return transposed(name, rows(name, transposed(name, vector), from, count));
    }

    /**
     * The rows of {@code parts} one below the other; all parts have the same columns and format.
     *
     * @throws MillraceException naming the parts that differ
     */
    public static Weight concatenated(String name, List<Weight> parts) {
        return parts.size() == 1 ? named(name, parts.getFirst()) : new RowConcat(name, parts);
    }

    /**
     * The transpose of a floating-point weight. Reads columns of the original in blocks: asking for a few hundred rows at
     * a time is efficient, asking for single rows is not.
     *
     * @throws MillraceException when the weight is quantized
     */
    public static Weight transposed(String name, Weight weight) {
        return new Transposed(name, weight);
    }

    /** Row i of the view is row {@code order[i]} of {@code weight}. */
    public static Weight permutedRows(String name, Weight weight, int[] order) {
        return new RowPermuted(name, weight, order);
    }

    /**
     * Column i of the view is column {@code order[i]} of a floating-point weight.
     *
     * @throws MillraceException when the weight is quantized
     */
    public static Weight permutedColumns(String name, Weight weight, int[] order) {
        return new ColumnPermuted(name, weight, order);
    }

    /**
     * The weight in another format, converted when read; itself where it has the format already. Between block formats
     * the quantized numbers are carried over where that is exact ({@link Transcoded}), else rounded anew.
     *
     * @throws MillraceException when rows do not divide into the format's blocks or the format cannot be written
     */
    public static Weight converted(Weight weight, WeightFormat format) {
        if (weight.format() == format) {
            return weight;
        }
        if (!format.fits(weight.shape().columns())) {
            throw new MillraceException(weight.name() + " " + weight.shape() + ": " + weight.shape().columns()
                    + " columns are no multiple of " + format + "'s block of " + format.blockElements()
                    + ": keep it as f16 or f32");
        }
        if (weight instanceof RandomWeight random) {
            return random.as(format);
        }
        if (Transcoded.possible(weight.format(), format)) {
            return new Transcoded(weight, format);
        }
        if (!Codecs.of(format).encodes()) {
            throw new MillraceException(weight.name() + ": format " + format + " can be read but not written");
        }
        return new Converted(weight, format);
    }

    /**
     * Random numbers of mean 0 and standard deviation {@code deviation}, bell-shaped for the floats: the same (name, seed,
     * format) gives the same weight everywhere. Quantized formats draw the blocks themselves (uniform numbers,
     * one scale, its sign random), so that gigabytes cost seconds; converting such a weight draws it in the new format.
     */
    public static Weight random(String name, Shape shape, WeightFormat format, long seed, float deviation) {
        return new RandomWeight(name, shape, format, seed, deviation);
    }
}
