package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;

/**
 * ggml's 4-bit formats whose nibbles index a table of sixteen signed bytes. IQ4_NL is {f16 d, 16 bytes nibbles}, value d
 * * table[q]; IQ4_XS is a super-block of eight groups of 32, {f16 d, u16 high scale bits, 4 bytes low scale bits, 128
 * bytes nibbles}, value d * (scale - 32) * table[q]. Read only.
 */
final class NonLinear {
    static final Blocks IQ4_NL = new Single();
    static final Blocks IQ4_XS = new Super();

    static final byte[] TABLE = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

    private NonLinear() {}

    private static void decode(byte[] b, int at, float d, float[] dst, int off) {
        for (int j = 0; j < 16; j++) {
            int q = b[at + j];
            dst[off + j] = d * TABLE[q & 15];
            dst[off + j + 16] = d * TABLE[q >> 4 & 15];
        }
    }

    /** The 6-bit scale of a group of IQ4_XS's block at {@code at}. */
    static int scale(byte[] b, int at, int group) {
        int low = b[at + 4 + group / 2] >> group % 2 * 4 & 15;
        int high = ((b[at + 2] & 0xff) | (b[at + 3] & 0xff) << 8) >> 2 * group & 3;
        return low | high << 4;
    }

    private static final class Single extends Blocks {
        Single() {
            super(WeightFormat.IQ4_NL);
        }

        @Override
        public boolean encodes() {
            return false;
        }

        @Override
        void decode(byte[] b, int count, float[] dst, int off) {
            for (int block = 0, at = 0; block < count; block++, at += 18, off += 32) {
                NonLinear.decode(b, at + 2, half(b, at), dst, off);
            }
        }
    }

    private static final class Super extends Blocks {
        Super() {
            super(WeightFormat.IQ4_XS);
        }

        @Override
        public boolean encodes() {
            return false;
        }

        @Override
        void decode(byte[] b, int count, float[] dst, int off) {
            for (int block = 0, at = 0; block < count; block++, at += 136) {
                float d = half(b, at);
                for (int group = 0; group < 8; group++, off += 32) {
                    NonLinear.decode(b, at + 8 + group * 16, d * (scale(b, at, group) - 32), dst, off);
                }
            }
        }
    }
}
