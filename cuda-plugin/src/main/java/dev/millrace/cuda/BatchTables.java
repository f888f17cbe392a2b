package dev.millrace.cuda;

import dev.millrace.cuda.driver.DeviceBuffer;
import dev.millrace.cuda.driver.Gpu;
import dev.millrace.cuda.driver.GpuStream;
import dev.millrace.cuda.driver.PinnedBuffer;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * What a step is about, in device memory: for every row its token, position, type and sequence; the wanted rows; for
 * every sequence its cache and extent; and how to sample. One copy brings all of it over.
 */
final class BatchTables implements AutoCloseable {
    private static final int ROW = 16;
    private static final int SEQUENCE = 48;
    private static final int SAMPLING = 32;

    private final DeviceBuffer device;
    private final PinnedBuffer host;
    private final MemorySegment at;
    private final int capacity;
    private final long selectedAt;
    private final long samplingAt;
    private final long sequencesAt;
    /** Rows and selected rows are gathered in arrays: a prompt's thousands of writes are slow before they are compiled. */
    private final int[] rows;

    private final int[] selected;
    private int rowCount;
    private int selectedCount;
    private int sequences;

    /** @param capacity rows, and so sequences, at most */
    BatchTables(Gpu gpu, int capacity) {
        this.capacity = capacity;
        selectedAt = (long) ROW * capacity;
        samplingAt = Format.roundUp(selectedAt + 4L * capacity, 16);
        sequencesAt = samplingAt + SAMPLING;
        long bytes = sequencesAt + (long) SEQUENCE * capacity;
        host = gpu.pin(bytes);
        try {
            device = gpu.allocate(bytes, "batch tables");
        } catch (RuntimeException e) {
            host.close();
            throw e;
        }
        at = host.segment();
        rows = new int[ROW / Integer.BYTES * capacity];
        selected = new int[capacity];
    }

    int capacity() {
        return capacity;
    }

    long bytes() {
        return device.bytes();
    }

    long rows() {
        return device.address();
    }

    long selected() {
        return device.address() + selectedAt;
    }

    long sampling() {
        return device.address() + samplingAt;
    }

    long sequences() {
        return device.address() + sequencesAt;
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
        long to = sequencesAt + (long) SEQUENCE * index;
        at.set(ValueLayout.JAVA_LONG, to, session.cacheAddress());
        at.set(ValueLayout.JAVA_LONG, to + 8, session.historyAddress());
        at.set(ValueLayout.JAVA_INT, to + 16, session.capacity());
        at.set(ValueLayout.JAVA_INT, to + 20, session.kv().ordinal());
        at.set(ValueLayout.JAVA_INT, to + 24, start);
        at.set(ValueLayout.JAVA_INT, to + 28, count);
        at.set(ValueLayout.JAVA_INT, to + 32, base);
        at.set(ValueLayout.JAVA_INT, to + 36, length);
        sequences = index + 1;
    }

    void sampling(dev.millrace.core.sampling.Sampling s) {
        at.set(ValueLayout.JAVA_FLOAT, samplingAt, s.repeatPenalty());
        at.set(ValueLayout.JAVA_FLOAT, samplingAt + 4, s.temperature());
        at.set(ValueLayout.JAVA_INT, samplingAt + 8, s.topK());
        at.set(ValueLayout.JAVA_FLOAT, samplingAt + 12, s.topP());
        at.set(ValueLayout.JAVA_FLOAT, samplingAt + 16, s.minP());
        at.set(ValueLayout.JAVA_INT, samplingAt + 20, s.greedy() ? 1 : 0);
        at.set(ValueLayout.JAVA_LONG, samplingAt + 24, s.seed());
    }

    /**
     * Sends what was written: as many rows, selected rows and sequences as were written last. The stream must be past the
     * copy before anything is written again.
     *
     * @return bytes sent
     */
    long send(GpuStream stream) {
        MemorySegment.copy(rows, 0, at, ValueLayout.JAVA_INT, 0, ROW / Integer.BYTES * rowCount);
        MemorySegment.copy(selected, 0, at, ValueLayout.JAVA_INT, selectedAt, selectedCount);
        long bytes = sequencesAt + (long) SEQUENCE * sequences;
        stream.upload(at, device.address(), bytes);
        return bytes;
    }

    @Override
    public void close() {
        device.close();
        host.close();
    }
}
