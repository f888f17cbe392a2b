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

    /** The largest magnitude of 32 elements, by the bits, which order magnitudes; four chains hide their latency. */
    static float most(float[] x, int off) {
        int a = 0;
        int b = 0;
        int c = 0;
        int d = 0;
        for (int j = off; j < off + 32; j += 4) {
            a = Math.max(a, Float.floatToRawIntBits(x[j]) & 0x7fffffff);
            b = Math.max(b, Float.floatToRawIntBits(x[j + 1]) & 0x7fffffff);
            c = Math.max(c, Float.floatToRawIntBits(x[j + 2]) & 0x7fffffff);
            d = Math.max(d, Float.floatToRawIntBits(x[j + 3]) & 0x7fffffff);
        }
        return Float.intBitsToFloat(Math.max(Math.max(a, b), Math.max(c, d)));
    }

    /** The element of the largest magnitude, the first of equals, with its sign. */
    static float extreme(float[] x, int off) {
        float most = most(x, off);
        for (int j = off; j < off + 32; j++) {
            if (Math.abs(x[j]) == most) {
                return x[j];
            }
        }
        return most;
    }

    static float inverse(float d) {
        return d != 0 ? 1 / d : 0;
    }

    /**
     * The numbers of {@code times.length} elements: (x - minus) * times + plus, then C's conversion to int8_t as ggml's
     * compilers do it on x86: toward zero, then the low byte; what no int holds (a scale too small to invert) becomes 0.
     * One long loop over many blocks, since C2 does not vectorize loops of 32.
     */
    static int[] truncated(float[] x, int off, float[] minus, float[] times, float plus, int most) {
        int[] q = new int[times.length];
        for (int i = 0; i < q.length; i++) {
            int whole = (int) ((x[off + i] - minus[i]) * times[i] + plus);
            q[i] = Math.min(most, Math.max(0, whole << 24 >> 24));
        }
        return q;
    }

    /** As above with nothing subtracted. */
    static int[] truncated(float[] x, int off, float[] times, float plus, int most) {
        int[] q = new int[times.length];
        for (int i = 0; i < q.length; i++) {
            int whole = (int) (x[off + i] * times[i] + plus);
            q[i] = Math.min(most, Math.max(0, whole << 24 >> 24));
        }
        return q;
    }
}
