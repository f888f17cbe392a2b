package dev.millrace.cpu.matmul;

/** Rows of floats inside an array: row {@code t} starts at {@code offset + t * stride}. */
public record Rows(float[] data, int offset, int stride) {
    /** Where row {@code t} starts. */
    public int at(int t) {
        return offset + t * stride;
    }
}
