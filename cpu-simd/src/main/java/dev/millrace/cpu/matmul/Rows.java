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

    /**
     * Where {@code column} begins in a block of tokens, [column][token], of {@code tokens} in all; those up to the next multiple
     * of {@link Activations#COLUMNS} follow.
     *
     * @param first the block's first token
     */
    int inBlock(int tokens, int first, int column) {
        int strip = column / Activations.COLUMNS * Activations.COLUMNS;
        int columns = Math.min(Activations.COLUMNS, stride - strip);
        int block = Activations.at(Activations.padded(tokens) / Activations.BLOCK, first / Activations.BLOCK, strip, columns);
        return block + (column - strip) * Activations.BLOCK;
    }

    /**
     * Writes a block of tokens, {@code n} columns of it, whole {@link Turn#COLUMNS}; for tokens past the last one whatever is there,
     * as their sums are not used.
     *
     * @param from rows, {@code rowStride} floats apart from {@code at}, the first at {@code column}
     */
    public void turn(int tokens, int first, int column, int n, float[] from, int at, int rowStride) {
        for (int c = 0; c < n; c += Turn.COLUMNS) {
            Turn.turn(from, at + c, rowStride, data, inBlock(tokens, first, column + c));
        }
    }
}
