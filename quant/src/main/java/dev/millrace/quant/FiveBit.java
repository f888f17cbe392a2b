package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.FourBit.Range;

/**
 * Blocks of 32 five-bit numbers: nibbles as in {@link FourBit}, before them 32 fifth bits, element j's at bit j. Q5_0 is
 * {f16 d, u32 high, nibbles}, value d * (q - 16); Q5_1 is {f16 d, f16 m, u32 high, nibbles}, value d * q + m.
 */
final class FiveBit {
    static final Blocks Q5_0 = new Symmetric();
    static final Blocks Q5_1 = new Affine();

    private FiveBit() {}

    private static void put(byte[] b, int at, int j, int low, int high) {
        b[at + 4 + j] = (byte) (low & 15 | (high & 15) << 4);
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
            for (int block = 0, at = 0; block < count; block++, at += 22, off += 32) {
                float d = extreme(src, off) / -16;
                float id = inverse(d);
                putHalf(b, at, d);
                int fifth = 0;
                for (int j = 0; j < 16; j++) {
                    int low = truncated(src[off + j] * id + 16.5f, 31);
                    int high = truncated(src[off + j + 16] * id + 16.5f, 31);
                    put(b, at + 2, j, low, high);
                    fifth |= (low >> 4 & 1) << j | (high >> 4 & 1) << j + 16;
                }
                putInt32(b, at + 2, fifth);
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
            for (int block = 0, at = 0; block < count; block++, at += 24, off += 32) {
                Range range = Range.of(src, off);
                float d = (range.max() - range.min()) / 31;
                float id = inverse(d);
                putHalf(b, at, d);
                putHalf(b, at + 2, range.min());
                int fifth = 0;
                for (int j = 0; j < 16; j++) {
                    int low = truncated((src[off + j] - range.min()) * id + 0.5f, 31);
                    int high = truncated((src[off + j + 16] - range.min()) * id + 0.5f, 31);
                    put(b, at + 4, j, low, high);
                    fifth |= (low >> 4 & 1) << j | (high >> 4 & 1) << j + 16;
                }
                putInt32(b, at + 4, fifth);
            }
        }
    }
}
