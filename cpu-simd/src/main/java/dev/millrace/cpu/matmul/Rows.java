package dev.millrace.cpu.matmul;

/**
 * Rows of floats inside an array: row {@code t} starts at {@code offset + t * stride}.
 *
 * @param blocks whether they lie in blocks of tokens instead, as {@link Activations#at} says, {@code stride} columns from the
 *     array's beginning; what one product writes for the next alone to read
 */
public record Rows(float[] data, int offset, int stride, boolean blocks) {
    public Rows(float[] data, int offset, int stride) {
        this(data, offset, stride, false);
    }

    /** Where row {@code t} starts. */
    public int at(int t) {
        return offset + t * stride;
    }
}
