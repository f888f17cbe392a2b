package dev.millrace.cuda;

import dev.millrace.core.tensor.WeightFormat;
import java.util.EnumSet;
import java.util.Set;

/**
 * How matrices and activations lie in device memory; the codes are those of {@code abi.cuh}. Plain formats are
 * row-major with rows padded to 64 elements; block formats are tiled, 16 rows by 128 columns, elements and scales apart.
 */
enum Format {
    F32(0),
    F16(1),
    BF16(2),
    Q8_0(3),
    Q4_0(4),
    Q4_1(5);

    /** Rows of a matrix are padded to so many. */
    static final int ROW_TILE = 16;
    private static final int BLOCK = 32;

    private final int code;

    Format(int code) {
        this.code = code;
    }

    int code() {
        return code;
    }

    static Set<WeightFormat> supported() {
        Set<WeightFormat> formats = EnumSet.noneOf(WeightFormat.class);
        for (Format format : values()) {
            formats.add(WeightFormat.valueOf(format.name()));
        }
        return formats;
    }

    static Format of(WeightFormat format) {
        return valueOf(format.name());
    }

    boolean quantized() {
        return this.code >= Q8_0.code;
    }

    /** The type whose products a matrix of this format takes part in on matrix units. */
    Format compute() {
        return switch (this) {
            case F32 -> F32;
            case BF16 -> BF16;
            case F16, Q8_0, Q4_0, Q4_1 -> F16;
        };
    }

    /** Elements of a padded row of {@code columns}. */
    int ld(int columns) {
        return quantized() ? roundUp(columns, 128) : roundUp(columns, 64);
    }

    long dataBytes(int rows, int columns) {
        long elements = (long) roundUp(rows, ROW_TILE) * ld(columns);
        return switch (this) {
            case F32 -> 4 * elements;
            case F16, BF16 -> 2 * elements;
            case Q8_0 -> elements;
            case Q4_0, Q4_1 -> elements / 2;
        };
    }

    long scaleBytes(int rows, int columns) {
        long blocks = (long) roundUp(rows, ROW_TILE) * (ld(columns) / BLOCK);
        return switch (this) {
            case F32, F16, BF16 -> 0;
            case Q8_0, Q4_0 -> 2 * blocks;
            case Q4_1 -> 4 * blocks;
        };
    }

    static int roundUp(int value, int to) {
        return Math.multiplyExact(Math.ceilDiv(value, to), to);
    }

    static long roundUp(long value, int to) {
        return Math.multiplyExact(Math.ceilDiv(value, (long) to), (long) to);
    }
}
