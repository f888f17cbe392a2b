package dev.millrace.cpu.matmul;

/**
 * Activations in 8 bits, as {@link Q4Panels} multiplies them: every 32 columns of a token share a scale s = max|x|/127
 * and are a[k] = round(x[k]/s).
 *
 * <p>A lane of a Q4 panel holds eight weights of a row as nibbles n0..n7 of an int, and the kernel multiplies its two
 * 16-bit halves, shifted by 0, 4, 8 and 12 bits, without masking the nibbles above. With the factor of nibble t being
 * b[t] = a[t] - 16 a[t-1], every product's excess is taken away by the next one: the sum of all is sum n[t] a[t] modulo
 * 2^16. As |sum of 32 (n - 8) a| is at most 32 * 8 * 127 = 32512, that is exact.
 */
final class NibbleFactors {
    /** Tokens of a block in a product of several tokens. */
    static final int TOKENS = 4;

    /** Pairs of 16-bit factors, [token block][32 columns][16 steps][token]. */
    final int[] factors;
    /** -8 sum a, modulo 2^16, [token block][32 columns][token]. */
    final int[] corrections;
    /** s 2^112, of the same shape; the weights' scales, as widened halves, are 2^112 too small. */
    final float[] scales;

    private int block = 1;

    NibbleFactors(int maxTokens, int maxInputs) {
        int groups = Math.ceilDiv(maxInputs, 32);
        factors = new int[Math.multiplyExact(maxTokens, groups * 16)];
        corrections = new int[maxTokens * groups];
        scales = new float[maxTokens * groups];
    }

    long bytes() {
        return 4L * (factors.length + corrections.length + scales.length);
    }

    /** Quantizes a share of the tokens, or, of a single token, a share of its columns. */
    void fill(Rows rows, int tokens, int inputs, int worker, int workers) {
        int groups = inputs / 32;
        if (tokens == 1) {
            block = 1;
            for (int g = groups * worker / workers; g < groups * (worker + 1) / workers; g++) {
                quantize(rows.data(), rows.offset() + 32 * g, g, 0, 1);
            }
            return;
        }
        block = TOKENS;
        int all = Math.ceilDiv(tokens, TOKENS);
        for (int b = all * worker / workers; b < all * (worker + 1) / workers; b++) {
            for (int t = 0; t < TOKENS; t++) {
                int token = Math.min(b * TOKENS + t, tokens - 1);
                for (int g = 0; g < groups; g++) {
                    quantize(rows.data(), rows.at(token) + 32 * g, b * groups + g, t, TOKENS);
                }
            }
        }
    }

    private void quantize(float[] x, int at, int group, int t, int stride) {
        float most = 0;
        for (int k = 0; k < 32; k++) {
            most = Math.max(most, Math.abs(x[at + k]));
        }
        float scale = most / 127;
        float inverse = scale == 0 ? 0 : 1 / scale;
        int sum = 0;
        int out = group * 16 * stride + t;
        for (int j = 0; j < 4; j++) {
            // nibble 2u of int j is column 4j + u, nibble 2u + 1 is column 4j + u + 16
            int before = 0;
            int[] b = new int[8];
            for (int n = 0; n < 8; n++) {
                int a = Math.round(x[at + 4 * j + (n >> 1) + 16 * (n & 1)] * inverse);
                b[n] = a - 16 * before;
                before = a;
                sum += a;
            }
            for (int n = 0; n < 4; n++) {
                factors[out + (4 * j + n) * stride] = (b[n] & 0xFFFF) | (b[n + 4] << 16);
            }
        }
        corrections[group * stride + t] = -8 * sum & 0xFFFF;
        scales[group * stride + t] = scale * 0x1p112f;
    }
}
