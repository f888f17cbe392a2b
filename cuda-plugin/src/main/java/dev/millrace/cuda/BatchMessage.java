package dev.millrace.cuda;

import dev.millrace.core.sampling.Sampling;
import dev.millrace.cuda.driver.Gpu;
import dev.millrace.cuda.driver.PinnedBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;

/**
 * What the host tells the device of a chunk of a batch: a few numbers a slice, and token ids, in memory that the first
 * kernel of the chunk's launches reads over the bus and makes {@link BatchTables} of. Nothing is copied by a call of its
 * own, and nothing is done here for each token.
 *
 * <p>The layout, in ints, is that of {@code describe} in {@code embed.cu}: how to sample (8) and the sequence to sample for
 * (12, and 4 unused); for every slice its sequence (12), how many of its rows are wanted, the index of the first of them,
 * and whether it has types (and 1 unused); the tokens of all rows; their types.
 */
final class BatchMessage implements AutoCloseable {
    static final int HEAD = 24;
    static final int SLICE = 16;

    private static final int SAMPLED = 8;

    private final PinnedBuffer buffer;
    private final IntBuffer memory;
    private final int capacity;
    /** Gathered in an array: writes to native memory are slow before they are compiled, so one must do. */
    private final int[] ints;

    private int tokensAt;
    private int end;

    /** @param capacity rows, and so slices, at most */
    BatchMessage(Gpu gpu, int capacity) {
        this.capacity = capacity;
        this.ints = new int[HEAD + (SLICE + 2) * capacity];
        buffer = gpu.pin((long) Integer.BYTES * ints.length);
        memory = buffer.segment().asByteBuffer().order(ByteOrder.nativeOrder()).asIntBuffer();
    }

    int capacity() {
        return capacity;
    }

    /** Where kernels read it. */
    long address() {
        return buffer.deviceAddress();
    }

    /** Starts a chunk of so many slices; the device must have read the chunk before. */
    void begin(int slices) {
        tokensAt = HEAD + SLICE * slices;
        end = tokensAt;
    }

    /**
     * The sequence that a token is drawn for after the chunk, whose position is {@code length}.
     *
     * @param length positions of the session with the chunk
     */
    void draw(CudaSession session, int length, Sampling s) {
        ints[0] = Float.floatToRawIntBits(s.repeatPenalty());
        ints[1] = Float.floatToRawIntBits(s.temperature());
        ints[2] = s.topK();
        ints[3] = Float.floatToRawIntBits(s.topP());
        ints[4] = Float.floatToRawIntBits(s.minP());
        ints[5] = s.greedy() ? 1 : 0;
        putLong(6, s.seed());
        sequence(SAMPLED, session, 0, 1, length - 1, length);
    }

    /**
     * One slice of the chunk, in order.
     *
     * @param start its first row
     * @param tokens its tokens are {@code tokens[from]} to {@code tokens[from + count - 1]}
     * @param types null where all are 0
     * @param base the position of its first row
     * @param length positions in the sequence after the whole slice
     * @param kept how many of its last rows are wanted
     * @param keptAt how many rows before it are wanted
     * @param rows of the whole chunk
     */
    void slice(
            int index,
            CudaSession session,
            int start,
            int[] tokens,
            int[] types,
            int from,
            int count,
            int base,
            int length,
            int kept,
            int keptAt,
            int rows) {
        int to = HEAD + SLICE * index;
        sequence(to, session, start, count, base, length);
        ints[to + 12] = kept;
        ints[to + 13] = keptAt;
        ints[to + 14] = types == null ? 0 : 1;
        System.arraycopy(tokens, from, ints, tokensAt + start, count);
        end = Math.max(end, tokensAt + start + count);
        if (types != null) {
            System.arraycopy(types, from, ints, tokensAt + rows + start, count);
            end = tokensAt + rows + start + count;
        }
    }

    private void sequence(int to, CudaSession session, int start, int count, int base, int length) {
        putLong(to, session.cacheAddress());
        putLong(to + 2, session.historyAddress());
        ints[to + 4] = session.capacity();
        ints[to + 5] = session.kv().ordinal();
        ints[to + 6] = start;
        ints[to + 7] = count;
        ints[to + 8] = base;
        ints[to + 9] = length;
    }

    private void putLong(int to, long value) {
        ints[to] = (int) value;
        ints[to + 1] = (int) (value >>> 32);
    }

    /**
     * Ends the chunk.
     *
     * @return bytes that the device will read
     */
    long finish() {
        memory.put(0, ints, 0, end);
        return (long) Integer.BYTES * end;
    }

    @Override
    public void close() {
        buffer.close();
    }
}
