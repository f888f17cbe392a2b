package dev.millrace.cuda;

/**
 * A matrix in device memory.
 *
 * @param data where its elements start, in bytes from the start of the program's weights
 * @param scales where its scales start; only block formats have them
 * @param rows outputs
 * @param columns inputs
 */
record Matrix(long data, long scales, int rows, int columns, Format format) {
    int ld() {
        return format.ld(columns);
    }

    long bytes() {
        return format.dataBytes(rows, columns) + format.scaleBytes(rows, columns);
    }
}
