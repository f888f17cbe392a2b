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
        public void decode(MemorySegment src, long at, float[] dst, int off, int n) {
            for (int i = 0; i < n; i++) {
                dst[off + i] = Float.float16ToFloat(src.get(SHORT, at + 2L * i));
            }
        }

        @Override
        public void encode(float[] src, int off, int n, MemorySegment dst, long at) {
            for (int i = 0; i < n; i++) {
                dst.set(SHORT, at + 2L * i, Float.floatToFloat16(src[off + i]));
            }
        }
    },
    BF16 {
        @Override
        public void decode(MemorySegment src, long at, float[] dst, int off, int n) {
            for (int i = 0; i < n; i++) {
                dst[off + i] = Float.intBitsToFloat(src.get(SHORT, at + 2L * i) << 16);
            }
        }

        @Override
        public void encode(float[] src, int off, int n, MemorySegment dst, long at) {
            for (int i = 0; i < n; i++) {
                float value = src[off + i];
                int bits = Float.floatToRawIntBits(value);
                int rounded = bits + 0x7fff + ((bits >>> 16) & 1);
                dst.set(SHORT, at + 2L * i, (short) ((value == value ? rounded : bits | 0x400000) >>> 16));
            }
        }
    };

    static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    @Override
    public WeightFormat format() {
        return WeightFormat.valueOf(name());
    }
}
