package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Plain floating point: IEEE 754 binary32 and binary16, and bfloat16 (the upper half of binary32). */
enum FloatCodecs implements BlockCodec {
    F32 {
        @Override
        public void decode(MemorySegment src, long at, float[] dst, int off, int n) {
            MemorySegment.copy(src, FLOAT, at, dst, off, n);
        }

        @Override
        public void encode(float[] src, int off, int n, MemorySegment dst, long at) {
            MemorySegment.copy(src, off, dst, FLOAT, at, n);
        }
    },
    F16 {
        @Override
        void widen(short[] from, float[] to, int off, int n) {
            for (int i = 0; i < n; i++) {
                to[off + i] = Float.float16ToFloat(from[i]);
            }
        }

        @Override
        void narrow(float[] from, int off, short[] to, int n) {
            for (int i = 0; i < n; i++) {
                to[i] = Float.floatToFloat16(from[off + i]);
            }
        }
    },
    BF16 {
        @Override
        void widen(short[] from, float[] to, int off, int n) {
            for (int i = 0; i < n; i++) {
                to[off + i] = Float.intBitsToFloat(from[i] << 16);
            }
        }

        @Override
        void narrow(float[] from, int off, short[] to, int n) {
            for (int i = 0; i < n; i++) {
                float value = from[off + i];
                int bits = Float.floatToRawIntBits(value);
                int rounded = bits + 0x7fff + ((bits >>> 16) & 1);
                to[i] = (short) ((value == value ? rounded : bits | 0x400000) >>> 16);
            }
        }
    };

    static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int CHUNK = 4096;

    @Override
    public WeightFormat format() {
        return WeightFormat.valueOf(name());
    }

    void widen(short[] from, float[] to, int off, int n) {
        throw new AssertionError(this);
    }

    void narrow(float[] from, int off, short[] to, int n) {
        throw new AssertionError(this);
    }

    @Override
    public void decode(MemorySegment src, long at, float[] dst, int off, int n) {
        short[] chunk = new short[Math.min(n, CHUNK)];
        for (int done = 0; done < n; done += CHUNK) {
            int count = Math.min(CHUNK, n - done);
            MemorySegment.copy(src, SHORT, at + 2L * done, chunk, 0, count);
            widen(chunk, dst, off + done, count);
        }
    }

    @Override
    public void encode(float[] src, int off, int n, MemorySegment dst, long at) {
        short[] chunk = new short[Math.min(n, CHUNK)];
        for (int done = 0; done < n; done += CHUNK) {
            int count = Math.min(CHUNK, n - done);
            narrow(src, off + done, chunk, count);
            MemorySegment.copy(chunk, 0, dst, SHORT, at + 2L * done, count);
        }
    }
}
