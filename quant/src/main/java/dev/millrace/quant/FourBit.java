package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;

/**
 * Blocks of 32 nibbles: byte j holds element j low and element j + 16 high. Q4_0 is {f16 d, nibbles}, value d * (q - 8);
 * Q4_1 is {f16 d, f16 m, nibbles}, value d * q + m.
 */
final class FourBit {
    static final Blocks Q4_0 = new Symmetric();
    static final Blocks Q4_1 = new Affine();

    private FourBit() {}

    private static final class Symmetric extends Blocks {
        Symmetric() {
            super(WeightFormat.Q4_0);
        }

        @Override
        void decode(byte[] b, int count, float[] dst, int off) {
            for (int block = 0, at = 0; block < count; block++, at += 18, off += 32) {
                float d = half(b, at);
                for (int j = 0; j < 16; j++) {
                    int q = b[at + 2 + j];
                    dst[off + j] = d * ((q & 15) - 8);
                    dst[off + j + 16] = d * ((q >> 4 & 15) - 8);
                }
            }
        }

        @Override
        void encode(float[] src, int off, byte[] b, int count) {
            for (int block = 0, at = 0; block < count; block++, at += 18, off += 32) {
                float d = extreme(src, off) / -8;
                float id = inverse(d);
                putHalf(b, at, d);
                for (int j = 0; j < 16; j++) {
                    int low = truncated(src[off + j] * id + 8.5f, 15);
                    int high = truncated(src[off + j + 16] * id + 8.5f, 15);
                    b[at + 2 + j] = (byte) (low | high << 4);
                }
            }
        }
    }

    private static final class Affine extends Blocks {
        Affine() {
            super(WeightFormat.Q4_1);
        }

        @Override
        void decode(byte[] b, int count, float[] dst, int off) {
            for (int block = 0, at = 0; block < count; block++, at += 20, off += 32) {
                float d = half(b, at);
                float m = half(b, at + 2);
                for (int j = 0; j < 16; j++) {
                    int q = b[at + 4 + j];
                    dst[off + j] = (q & 15) * d + m;
                    dst[off + j + 16] = (q >> 4 & 15) * d + m;
                }
            }
        }

        @Override
        void encode(float[] src, int off, byte[] b, int count) {
            for (int block = 0, at = 0; block < count; block++, at += 20, off += 32) {
                Range range = Range.of(src, off);
                float d = (range.max() - range.min()) / 15;
                float id = inverse(d);
                putHalf(b, at, d);
                putHalf(b, at + 2, range.min());
                for (int j = 0; j < 16; j++) {
                    int low = truncated((src[off + j] - range.min()) * id + 0.5f, 15);
                    int high = truncated((src[off + j + 16] - range.min()) * id + 0.5f, 15);
                    b[at + 4 + j] = (byte) (low | high << 4);
                }
            }
        }
    }

    /** The smallest and the largest of 32 elements. */
    record Range(float min, float max) {
        static Range of(float[] x, int off) {
            float min = Float.MAX_VALUE;
            float max = -Float.MAX_VALUE;
            for (int i = 0; i < 32; i++) {
                float v = x[off + i];
                if (v < min) {
                    min = v;
                }
                if (v > max) {
                    max = v;
                }
            }
            return new Range(min, max);
        }
    }
}
