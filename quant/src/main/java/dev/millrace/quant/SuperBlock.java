package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;

/** ggml's K-quants of 2, 3 and 6 bits: super-blocks of 256 elements in groups of 16 with quantized scales. Read only. */
final class SuperBlock {
    static final Blocks Q2_K = new TwoBit();
    static final Blocks Q3_K = new ThreeBit();
    static final Blocks Q6_K = new SixBit();

    private SuperBlock() {}

    /** {16 bytes scale | min << 4, 64 bytes of 2-bit q, f16 d, f16 dmin}: value d * scale * q - dmin * min. */
    private static final class TwoBit extends Blocks {
        TwoBit() {
            super(WeightFormat.Q2_K);
        }

        @Override
        public boolean encodes() {
            return false;
        }

        @Override
        void decode(byte[] b, int count, float[] dst, int off) {
            for (int block = 0, at = 0; block < count; block++, at += 84) {
                float d = half(b, at + 80);
                float dmin = half(b, at + 82);
                for (int group = 0; group < 16; group++, off += 16) {
                    float scale = d * (b[at + group] & 15);
                    float min = dmin * (b[at + group] >> 4 & 15);
                    int qs = at + 16 + group / 8 * 32 + group % 2 * 16;
                    int shift = group % 8 / 2 * 2;
                    for (int j = 0; j < 16; j++) {
                        dst[off + j] = scale * (b[qs + j] >> shift & 3) - min;
                    }
                }
            }
        }
    }

    /** {32 bytes of third bits, 64 bytes of 2-bit q, 12 bytes of 6-bit scales, f16 d}: value d * (scale - 32) * (q - 4). */
    private static final class ThreeBit extends Blocks {
        ThreeBit() {
            super(WeightFormat.Q3_K);
        }

        @Override
        public boolean encodes() {
            return false;
        }

        @Override
        void decode(byte[] b, int count, float[] dst, int off) {
            for (int block = 0, at = 0; block < count; block++, at += 110) {
                float d = half(b, at + 108);
                for (int group = 0; group < 16; group++, off += 16) {
                    float scale = d * (scale(b, at + 96, group) - 32);
                    int half = group % 2 * 16;
                    int qs = at + 32 + group / 8 * 32 + half;
                    int high = at + half;
                    int shift = group % 8 / 2 * 2;
                    int bit = group / 2;
                    for (int j = 0; j < 16; j++) {
                        dst[off + j] = scale * ((b[qs + j] >> shift & 3) - 4 + (b[high + j] >> bit & 1) * 4);
                    }
                }
            }
        }

        /** Low four bits: nibble {@code group / 8} of byte {@code group % 8}; high two bits in the last four bytes. */
        private static int scale(byte[] b, int at, int group) {
            int low = b[at + group % 8] >> group / 8 * 4 & 15;
            int high = b[at + 8 + group % 4] >> group / 4 * 2 & 3;
            return low | high << 4;
        }
    }

    /** {128 bytes of low nibbles, 64 bytes of high 2 bits, 16 int8 scales, f16 d}: value d * scale * (q - 32). */
    private static final class SixBit extends Blocks {
        SixBit() {
            super(WeightFormat.Q6_K);
        }

        @Override
        public boolean encodes() {
            return false;
        }

        @Override
        void decode(byte[] b, int count, float[] dst, int off) {
            for (int block = 0, at = 0; block < count; block++, at += 210) {
                float d = half(b, at + 208);
                for (int group = 0; group < 16; group++, off += 16) {
                    float scale = d * b[at + 192 + group];
                    int quarter = group % 8 / 2;
                    int low = at + group / 8 * 64 + quarter % 2 * 32 + group % 2 * 16;
                    int high = at + 128 + group / 8 * 32 + group % 2 * 16;
                    int nibble = quarter / 2 * 4;
                    int shift = quarter * 2;
                    for (int j = 0; j < 16; j++) {
                        int q = b[low + j] >> nibble & 15 | (b[high + j] >> shift & 3) << 4;
                        dst[off + j] = scale * (q - 32);
                    }
                }
            }
        }
    }
}
