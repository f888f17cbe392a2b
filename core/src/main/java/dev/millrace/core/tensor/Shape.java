package dev.millrace.core.tensor;

/**
 * The shape of a weight seen as a matrix: {@code rows} outputs by {@code columns} inputs, row-major. A vector (bias,
 * norm gain) has one row.
 */
public record Shape(long rows, long columns) {
    public Shape {
        if (rows < 1 || columns < 1) {
            throw new IllegalArgumentException("shape " + rows + " x " + columns + ": both must be positive");
        }
        Math.multiplyExact(rows, columns);
    }

    /** A vector of {@code length} elements. */
    public static Shape vector(long length) {
        return new Shape(1, length);
    }

    public long elements() {
        return rows * columns;
    }

    @Override
    public String toString() {
        return rows == 1 ? "[" + columns + "]" : "[" + rows + ", " + columns + "]";
    }
}
