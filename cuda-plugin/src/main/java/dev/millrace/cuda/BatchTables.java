package dev.millrace.cuda;

import dev.millrace.cuda.driver.DeviceBuffer;
import dev.millrace.cuda.driver.Gpu;

/**
 * What a step is about, in device memory: how to sample; for every sequence its cache and extent; for every row its
 * token, position, type and sequence; and the wanted rows. Where they lie depends on a step's numbers of sequences and
 * rows, which are part of its shape. A {@link BatchMessage} says what the device is to write here.
 */
final class BatchTables implements AutoCloseable {
    private static final int ROW = 16;
    private static final int SEQUENCE = 48;
    private static final int SAMPLING = 32;

    private final DeviceBuffer device;
    private final int capacity;

    /** @param capacity rows, and so sequences, at most */
    BatchTables(Gpu gpu, int capacity) {
        this.capacity = capacity;
        device = gpu.allocate(rowsAt(capacity) + (long) (ROW + Integer.BYTES) * capacity, "batch tables");
    }

    int capacity() {
        return capacity;
    }

    long bytes() {
        return device.bytes();
    }

    private static long rowsAt(int sequences) {
        return SAMPLING + (long) SEQUENCE * sequences;
    }

    /** How to sample, with the sequences right behind. */
    long sampling() {
        return device.address();
    }

    long sequences() {
        return device.address() + SAMPLING;
    }

    /** Where the rows of a step with so many sequences are. */
    long rows(int sequences) {
        return device.address() + rowsAt(sequences);
    }

    /** Where the wanted rows of a step with so many sequences and rows are. */
    long selectedAt(int sequences, int rows) {
        return rows(sequences) + (long) ROW * rows;
    }

    @Override
    public void close() {
        device.close();
    }
}
