package dev.millrace.core.tensor;

import java.util.Locale;

/**
 * How the elements of a weight lie in memory: {@link #blockElements} consecutive elements of one row share {@link
 * #blockBytes} bytes. Layouts and names of the block formats are those of ggml; all are little-endian.
 */
public enum WeightFormat {
    F32(1, 4),
    F16(1, 2),
    BF16(1, 2),
    Q4_0(32, 18),
    Q4_1(32, 20),
    Q5_0(32, 22),
    Q5_1(32, 24),
    Q8_0(32, 34),
    Q2_K(256, 84),
    Q3_K(256, 110),
    Q4_K(256, 144),
    Q5_K(256, 176),
    Q6_K(256, 210),
    IQ4_NL(32, 18),
    IQ4_XS(256, 136);

    private final int blockElements;
    private final int blockBytes;

    WeightFormat(int blockElements, int blockBytes) {
        this.blockElements = blockElements;
        this.blockBytes = blockBytes;
    }

    /** Elements in a block; 1 for plain floating point. A row's length must be a multiple of it. */
    public int blockElements() {
        return blockElements;
    }

    /** Bytes of a block. */
    public int blockBytes() {
        return blockBytes;
    }

    /** Whether elements are quantized in blocks (false for F32, F16, BF16). */
    public boolean quantized() {
        return blockElements > 1;
    }

    /** Bits an element takes, scales included. */
    public double bitsPerElement() {
        return 8.0 * blockBytes / blockElements;
    }

    /** Whether rows of {@code columns} elements can be stored in this format. */
    public boolean fits(long columns) {
        return columns % blockElements == 0;
    }

    /**
     * Bytes of one row.
     *
     * @throws IllegalArgumentException when {@code columns} is no multiple of the block
     * @throws ArithmeticException when the product overflows
     */
    public long rowBytes(long columns) {
        if (columns < 0 || !fits(columns)) {
            throw new IllegalArgumentException(
                    "a row of " + columns + " elements is no multiple of " + this + "'s block of " + blockElements);
        }
        return Math.multiplyExact(columns / blockElements, blockBytes);
    }

    /** The name used on the command line and in reports: f32, f16, bf16, int8 (Q8_0), int4 (Q4_0), else the ggml name. */
    public String label() {
        return switch (this) {
            case Q8_0 -> "int8";
            case Q4_0 -> "int4";
            default -> name().toLowerCase(Locale.ROOT);
        };
    }
}
