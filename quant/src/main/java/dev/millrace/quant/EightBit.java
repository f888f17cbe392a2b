package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;
import java.util.Arrays;

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

    /** Rounds as C's roundf, halves away from zero: twice the rest reaches 1 or -1 just where it must be carried. */
    @Override
    void encode(float[] src, int off, byte[] b, int count) {
        float[] times = new float[count * 32];
        for (int i = 0, at = 0; i < times.length; i += 32, at += 34) {
            float d = most(src, off + i) / 127;
            putHalf(b, at, d);
            // a scale too small to invert is 0 in f16, and so are its numbers
            Arrays.fill(times, i, i + 32, Float.isInfinite(inverse(d)) ? 0 : inverse(d));
        }
        int[] q = new int[times.length];
        for (int i = 0; i < q.length; i++) {
            float v = src[off + i] * times[i];
            int whole = (int) v;
            q[i] = whole + (int) ((v - whole) * 2);
        }
        for (int i = 0, at = 2; i < q.length; i += 32, at += 34) {
            for (int j = 0; j < 32; j++) {
                b[at + j] = (byte) q[i + j];
            }
        }
    }
}
