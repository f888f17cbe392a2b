package dev.millrace.cpu.step;

import dev.millrace.cpu.Lanes;
import dev.millrace.cpu.matmul.Activations;

/** Memory for activations of up to {@link #width} columns: row-major, as many columns as its user has. */
public final class Buffer {
    private final int width;
    private float[] data = new float[0];

    /** @param width most columns of any activation kept here */
    public Buffer(int width) {
        this.width = width;
    }

    /** The floats, whole vectors; a different array after {@link #ensure} made room. */
    public float[] data() {
        return data;
    }

    /**
     * Makes room for {@code rows} rows, several rounded up to whole blocks of tokens; what was there is lost.
     *
     * @throws IllegalArgumentException when they do not fit one array
     */
    public void ensure(int rows) {
        long floats = (long) (rows == 1 ? 1 : Activations.padded(rows)) * width;
        if (floats > data.length) {
            if (floats > Integer.MAX_VALUE - 64) {
                throw new IllegalArgumentException(rows + " rows of " + width + " floats are too many at once");
            }
            data = new float[Lanes.padded((int) floats)];
        }
    }

    public long bytes() {
        return (long) data.length * Float.BYTES;
    }
}
