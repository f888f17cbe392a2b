package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;

/** Q8_0: blocks of {f16 d, 32 signed bytes}, value d * q. */
final class EightBit extends Blocks {
    static final Blocks Q8_0 = new EightBit();

    private EightBit() {
        super(WeightFormat.Q8_0);
    }

    @Override
    void decode(byte[] b, int count, float[] dst, int off) {
        for (int block = 0, at = 0; block < count; block++, at += 34, off += 32) {
            float d = half(b, at);
            for (int j = 0; j < 32; j++) {
                dst[off + j] = b[at + 2 + j] * d;
            }
        }
    }

    @Override
    void encode(float[] src, int off, byte[] b, int count) {
        for (int block = 0, at = 0; block < count; block++, at += 34, off += 32) {
            float most = 0;
            for (int j = 0; j < 32; j++) {
                most = Math.max(most, Math.abs(src[off + j]));
            }
            float d = most / 127;
            float id = inverse(d);
            putHalf(b, at, d);
            for (int j = 0; j < 32; j++) {
                b[at + 2 + j] = (byte) rounded(src[off + j] * id);
            }
        }
    }

    /** C's roundf: to nearest, halves away from zero. */
    private static int rounded(float v) {
        int whole = (int) v;
        float rest = v - whole;
        return whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
    }
}
