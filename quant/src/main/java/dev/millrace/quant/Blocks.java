package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The frame of a block codec: bytes move between segment and array a few kilobytes at a time, so that the loops of a
 * format see nothing but arrays, whatever kind of memory the segment is.
 */
abstract class Blocks implements BlockCodec {
    private static final int CHUNK_BYTES = 8192;

    private final WeightFormat format;

    Blocks(WeightFormat format) {
        this.format = format;
    }

    /** Decodes {@code count} blocks that start at byte 0 of {@code b}. */
    abstract void decode(byte[] b, int count, float[] dst, int off);

    /** Encodes {@code count} blocks to {@code b} from byte 0. */
    void encode(float[] src, int off, byte[] b, int count) {
        throw new AssertionError(format);
    }

    @Override
    public final WeightFormat format() {
        return format;
    }

    @Override
    public final void decode(MemorySegment src, long at, float[] dst, int off, int n) {
        int blocks = blocks(n);
        int step = Math.min(blocks, CHUNK_BYTES / format.blockBytes());
        byte[] chunk = new byte[step * format.blockBytes()];
        for (int done = 0; done < blocks; done += step) {
            int count = Math.min(step, blocks - done);
            long from = at + (long) done * format.blockBytes();
            MemorySegment.copy(src, ValueLayout.JAVA_BYTE, from, chunk, 0, count * format.blockBytes());
            decode(chunk, count, dst, off + done * format.blockElements());
        }
    }

    @Override
    public final void encode(float[] src, int off, int n, MemorySegment dst, long at) {
        if (!encodes()) {
            BlockCodec.super.encode(src, off, n, dst, at);
        }
        int blocks = blocks(n);
        int step = Math.min(blocks, CHUNK_BYTES / format.blockBytes());
        byte[] chunk = new byte[step * format.blockBytes()];
        for (int done = 0; done < blocks; done += step) {
            int count = Math.min(step, blocks - done);
            encode(src, off + done * format.blockElements(), chunk, count);
            long to = at + (long) done * format.blockBytes();
            MemorySegment.copy(chunk, 0, dst, ValueLayout.JAVA_BYTE, to, count * format.blockBytes());
        }
    }

    private int blocks(int n) {
        if (n % format.blockElements() != 0) {
            throw new IllegalArgumentException(n + " elements are no multiple of " + format + "'s block of "
                    + format.blockElements());
        }
        return n / format.blockElements();
    }

    static float half(byte[] b, int at) {
        return Float.float16ToFloat((short) ((b[at] & 0xff) | b[at + 1] << 8));
    }

    static void putHalf(byte[] b, int at, float value) {
        short bits = Float.floatToFloat16(value);
        b[at] = (byte) bits;
        b[at + 1] = (byte) (bits >> 8);
    }

    static int int32(byte[] b, int at) {
        return (b[at] & 0xff) | (b[at + 1] & 0xff) << 8 | (b[at + 2] & 0xff) << 16 | b[at + 3] << 24;
    }

    static void putInt32(byte[] b, int at, int value) {
        b[at] = (byte) value;
        b[at + 1] = (byte) (value >> 8);
        b[at + 2] = (byte) (value >> 16);
        b[at + 3] = (byte) (value >> 24);
    }

    /** The element of the largest magnitude, the first of equals, with its sign. */
    static float extreme(float[] x, int off) {
        float most = 0;
        float signed = 0;
        for (int i = 0; i < 32; i++) {
            float v = x[off + i];
            if (most < Math.abs(v)) {
                most = Math.abs(v);
                signed = v;
            }
        }
        return signed;
    }

    static float inverse(float d) {
        return d != 0 ? 1 / d : 0;
    }

    /**
     * C's conversion of a float to int8_t as ggml's compilers do it on x86: toward zero, then the low byte; what no int
     * holds (a scale too small to invert) becomes 0.
     */
    static int truncated(float v, int most) {
        int whole = (int) v;
        return whole == Integer.MAX_VALUE ? 0 : Math.min(most, (byte) whole);
    }
}
