package dev.millrace.cuda;

import dev.millrace.cuda.driver.DeviceBuffer;
import dev.millrace.cuda.driver.Gpu;
import dev.millrace.cuda.driver.GpuStream;
import dev.millrace.cuda.driver.PinnedBuffer;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * What a step is about, in device memory: how to sample; for every sequence its cache and extent; for every row its
 * token, position, type and sequence; and the wanted rows. They lie as close as a step's numbers of sequences and rows,
 * which are part of its shape, let them: one short copy brings all of it over.
 */
final class BatchTables implements AutoCloseable {
    private static final int ROW = 16;
    private static final int SEQUENCE = 48;
    private static final int SAMPLING = 32;

    private final DeviceBuffer device;
    private final PinnedBuffer host;
    private final MemorySegment at;
    private final int capacity;
    /** Everything is gathered in arrays: writes to native memory are slow before they are compiled. */
    private final int[] head;

    private final int[] rows;

    private final int[] selected;
    private int rowCount;
    private int selectedCount;
    private int sequences;

    /** @param capacity rows, and so sequences, at most */
    BatchTables(Gpu gpu, int capacity) {
        this.capacity = capacity;
        long bytes = rowsAt(capacity) + (long) (ROW + Integer.BYTES) * capacity;
        host = gpu.pin(bytes);
        try {
            device = gpu.allocate(bytes, "batch tables");
        } catch (RuntimeException e) {
            host.close();
            throw e;
        }
        at = host.segment();
        head = new int[(int) rowsAt(capacity) / Integer.BYTES];
        rows = new int[ROW / Integer.BYTES * capacity];
        selected = new int[capacity];
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

    /** Starts the description of a step. */
    void begin() {
        rowCount = 0;
        selectedCount = 0;
        sequences = 0;
    }

    void row(int row, int token, int position, int type, int sequence) {
        int to = ROW / Integer.BYTES * row;
        rows[to] = token;
        rows[to + 1] = position;
        rows[to + 2] = type;
        rows[to + 3] = sequence;
        rowCount = row + 1;
    }

    void selected(int index, int row) {
        selected[index] = row;
        selectedCount = index + 1;
    }

    /**
     * One slice.
     *
     * @param start its first row
     * @param count its rows
     * @param base the position of its first row
     * @param length positions in the sequence after it
     */
    void sequence(int index, CudaSession session, int start, int count, int base, int length) {
        int to = (SAMPLING + SEQUENCE * index) / Integer.BYTES;
        putLong(to, session.cacheAddress());
        putLong(to + 2, session.historyAddress());
        head[to + 4] = session.capacity();
        head[to + 5] = session.kv().ordinal();
        head[to + 6] = start;
        head[to + 7] = count;
        head[to + 8] = base;
        head[to + 9] = length;
        sequences = index + 1;
    }

    void sampling(dev.millrace.core.sampling.Sampling s) {
        head[0] = Float.floatToRawIntBits(s.repeatPenalty());
        head[1] = Float.floatToRawIntBits(s.temperature());
        head[2] = s.topK();
        head[3] = Float.floatToRawIntBits(s.topP());
        head[4] = Float.floatToRawIntBits(s.minP());
        head[5] = s.greedy() ? 1 : 0;
        putLong(6, s.seed());
    }

    private void putLong(int to, long value) {
        head[to] = (int) value;
        head[to + 1] = (int) (value >>> 32);
    }

    /**
     * Sends what was written: as many rows, selected rows and sequences as were written last. The stream must be past the
     * copy before anything is written again.
     *
     * @return bytes sent
     */
    long send(GpuStream stream) {
        long rowsAt = rowsAt(sequences);
        long selectedAt = rowsAt + (long) ROW * rowCount;
        MemorySegment.copy(head, 0, at, ValueLayout.JAVA_INT, 0, (int) rowsAt / Integer.BYTES);
        MemorySegment.copy(rows, 0, at, ValueLayout.JAVA_INT, rowsAt, ROW / Integer.BYTES * rowCount);
        MemorySegment.copy(selected, 0, at, ValueLayout.JAVA_INT, selectedAt, selectedCount);
        long bytes = selectedAt + (long) Integer.BYTES * selectedCount;
        stream.upload(at, device.address(), bytes);
        return bytes;
    }

    @Override
    public void close() {
        device.close();
        host.close();
    }
}
