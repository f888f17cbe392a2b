package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;
import java.util.Arrays;

/**
 * Blocks of 32 nibbles: byte j holds element j low and element j + 16 high. Q4_0 is {f16 d, nibbles}, value d * (q - 8);
 * Q4_1 is {f16 d, f16 m, nibbles}, value d * q + m.
 */
final class FourBit {
    static final Blocks Q4_0 = new Symmetric();
    static final Blocks Q4_1 = new Affine();

    private FourBit() {}

    /** The low four bits of 32 numbers. */
    static void nibbles(int[] q, int from, byte[] b, int at) {
        for (int j = 0; j < 16; j++) {
            b[at + j] = (byte) (q[from + j] & 15 | q[from + j + 16] << 4);
        }
    }

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
            float[] times = new float[count * 32];
            for (int i = 0, at = 0; i < times.length; i += 32, at += 18) {
                float d = extreme(src, off + i) / -8;
                putHalf(b, at, d);
                Arrays.fill(times, i, i + 32, inverse(d));
            }
            int[] q = truncated(src, off, times, 8.5f, 15);
            for (int i = 0, at = 2; i < q.length; i += 32, at += 18) {
                nibbles(q, i, b, at);
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
            float[] times = new float[count * 32];
            float[] minus = new float[count * 32];
            for (int i = 0, at = 0; i < times.length; i += 32, at += 20) {
                Range range = Range.of(src, off + i);
                float d = (range.max() - range.min()) / 15;
                putHalf(b, at, d);
                putHalf(b, at + 2, range.min());
                Arrays.fill(times, i, i + 32, inverse(d));
                Arrays.fill(minus, i, i + 32, range.min());
            }
            int[] q = truncated(src, off, minus, times, 0.5f, 15);
            for (int i = 0, at = 4; i < q.length; i += 32, at += 20) {
                nibbles(q, i, b, at);
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
