package dev.millrace.cpu.matmul;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

/**
 * Half floats in panels. A half becomes a float by moving its bits: sign-extended and shifted left by 13, its sign,
 * exponent and mantissa lie where a float has them once three copies of the sign are cleared ({@link #BITS}). The biases
 * of the exponents differ, so every value, normal or subnormal, comes out 2^112 too small.
 *
 * <p>A subnormal half would come out as a subnormal float, and arithmetic on those is many times slower (int4 products
 * with one scale in 200 subnormal ran at half speed). So a panel stores its halves times 2^10, which is exact and leaves
 * no subnormals, unless one of them is too large for that. The factor that makes up for both stands in the panel's
 * header.
 */
final class Halves {
    /** Bits that a widened half may have set. */
    static final int BITS = 0x8FFFE000;

    /** Bytes of a panel's header. */
    static final int HEADER = 64;

    /** Magnitudes from 32 on cannot be multiplied by 2^10. */
    private static final int LARGE = 0x5000;

    private Halves() {}

    /** Writes the header of a panel whose largest half has magnitude bits {@code most}; true when halves are scaled. */
    static boolean header(long panel, int most) {
        boolean scaled = most < LARGE;
        Panel.ALL.set(JAVA_FLOAT, panel, scaled ? 0x1p102f : 0x1p112f);
        return scaled;
    }

    /** What a panel's widened halves are to be multiplied by. */
    static float factor(long panel) {
        return Panel.ALL.get(JAVA_FLOAT, panel);
    }

    /** Multiplies all by 2^10. */
    static void scale(short[] halves) {
        for (int i = 0; i < halves.length; i++) {
            halves[i] = scaled(halves[i]);
        }
    }

    /** A half times 2^10. */
    static short scaled(short half) {
        if ((half & 0x7C00) != 0) {
            return (short) (half + (10 << 10));
        }
        return Float.floatToFloat16(Float.float16ToFloat(half) * 1024);
    }
}
