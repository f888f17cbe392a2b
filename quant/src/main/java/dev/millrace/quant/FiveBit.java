package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.FourBit.Range;
import java.util.Arrays;

/**
 * Blocks of 32 five-bit numbers: nibbles as in {@link FourBit}, before them 32 fifth bits, element j's at bit j. Q5_0 is
 * {f16 d, u32 high, nibbles}, value d * (q - 16); Q5_1 is {f16 d, f16 m, u32 high, nibbles}, value d * q + m.
 */
final class FiveBit {
    static final Blocks Q5_0 = new Symmetric();
    static final Blocks Q5_1 = new Affine();

    private FiveBit() {}

    /** The fifth bits of 32 numbers. */
    private static int fifths(int[] q, int from) {
        int bits = 0;
        for (int j = 0; j < 32; j++) {
            bits |= (q[from + j] >> 4 & 1) << j;
        }
        return bits;
    }

    private static final class Symmetric extends Blocks {
        Symmetric() {
            super(WeightFormat.Q5_0);
        }

        @Override
        void decode(byte[] b, int count, float[] dst, int off) {
            for (int block = 0, at = 0; block < count; block++, at += 22, off += 32) {
                float d = half(b, at);
                int high = int32(b, at + 2);
                for (int j = 0; j < 16; j++) {
                    int q = b[at + 6 + j];
                    dst[off + j] = ((q & 15 | (high >> j & 1) << 4) - 16) * d;
                    dst[off + j + 16] = ((q >> 4 & 15 | (high >> j + 16 & 1) << 4) - 16) * d;
                }
            }
        }

        @Override
        void encode(float[] src, int off, byte[] b, int count) {
            float[] times = new float[count * 32];
            for (int i = 0, at = 0; i < times.length; i += 32, at += 22) {
                float d = extreme(src, off + i) / -16;
                putHalf(b, at, d);
                Arrays.fill(times, i, i + 32, inverse(d));
            }
            int[] q = truncated(src, off, times, 16.5f, 31);
            for (int i = 0, at = 2; i < q.length; i += 32, at += 22) {
                putInt32(b, at, fifths(q, i));
                FourBit.nibbles(q, i, b, at + 4);
            }
        }
    }

    private static final class Affine extends Blocks {
        Affine() {
            super(WeightFormat.Q5_1);
        }

        @Override
        void decode(byte[] b, int count, float[] dst, int off) {
            for (int block = 0, at = 0; block < count; block++, at += 24, off += 32) {
                float d = half(b, at);
                float m = half(b, at + 2);
                int high = int32(b, at + 4);
                for (int j = 0; j < 16; j++) {
                    int q = b[at + 8 + j];
                    dst[off + j] = (q & 15 | (high >> j & 1) << 4) * d + m;
                    dst[off + j + 16] = (q >> 4 & 15 | (high >> j + 16 & 1) << 4) * d + m;
                }
            }
        }

        @Override
        void encode(float[] src, int off, byte[] b, int count) {
            float[] times = new float[count * 32];
            float[] minus = new float[count * 32];
            for (int i = 0, at = 0; i < times.length; i += 32, at += 24) {
                Range range = Range.of(src, off + i);
                float d = (range.max() - range.min()) / 31;
                putHalf(b, at, d);
                putHalf(b, at + 2, range.min());
                Arrays.fill(times, i, i + 32, inverse(d));
                Arrays.fill(minus, i, i + 32, range.min());
            }
            int[] q = truncated(src, off, minus, times, 0.5f, 31);
            for (int i = 0, at = 4; i < q.length; i += 32, at += 24) {
                putInt32(b, at, fifths(q, i));
                FourBit.nibbles(q, i, b, at + 4);
            }
        }
    }
}
