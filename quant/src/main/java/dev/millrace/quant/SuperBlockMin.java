package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;

/**
 * ggml's K-quants of 4 and 5 bits: super-blocks of 256 elements in groups of 32, each with a 6-bit scale and a 6-bit
 * minimum: value d * scale * q - dmin * min. Q4_K is {f16 d, f16 dmin, 12 bytes scales and minima, 128 bytes nibbles},
 * Q5_K has 32 bytes of fifth bits before the nibbles. Read only.
 */
final class SuperBlockMin extends Blocks {
    static final Blocks Q4_K = new SuperBlockMin(WeightFormat.Q4_K);
    static final Blocks Q5_K = new SuperBlockMin(WeightFormat.Q5_K);

    private SuperBlockMin(WeightFormat format) {
        super(format);
    }

    @Override
    public boolean encodes() {
        return false;
    }

    @Override
    void decode(byte[] b, int count, float[] dst, int off) {
        boolean five = format() == WeightFormat.Q5_K;
        for (int block = 0, at = 0; block < count; block++, at += format().blockBytes()) {
            float d = half(b, at);
            float dmin = half(b, at + 2);
            for (int group = 0; group < 8; group++, off += 32) {
                float scale = d * scale(b, at + 4, group);
                float min = dmin * min(b, at + 4, group);
                int qs = at + (five ? 48 : 16) + group / 2 * 32;
                int nibble = group % 2 * 4;
                if (five) {
                    for (int j = 0; j < 32; j++) {
                        int q = b[qs + j] >> nibble & 15 | (b[at + 16 + j] >> group & 1) << 4;
                        dst[off + j] = scale * q - min;
                    }
                } else {
                    for (int j = 0; j < 32; j++) {
                        dst[off + j] = scale * (b[qs + j] >> nibble & 15) - min;
                    }
                }
            }
        }
    }

    /** The 6-bit scale of a group, of the 12 bytes at {@code at}. */
    static int scale(byte[] b, int at, int group) {
        return group < 4
                ? b[at + group] & 63
                : b[at + group + 4] & 15 | (b[at + group - 4] >> 6 & 3) << 4;
    }

    /** The 6-bit minimum of a group, of the 12 bytes at {@code at}. */
    static int min(byte[] b, int at, int group) {
        return group < 4
                ? b[at + group + 4] & 63
                : b[at + group + 4] >> 4 & 15 | (b[at + group] >> 6 & 3) << 4;
    }
}
