package dev.millrace.core.kit;

import dev.millrace.core.tensor.WeightFormat;

/** The relative L2 error against the reference that an executor may have where a matrix of that format is involved. */
@FunctionalInterface
public interface Tolerance {
    double of(WeightFormat format);

    /** Activations stay float32 beside floating-point weights and become int8 beside block formats. */
    Tolerance FLOAT_ACTIVATIONS =
            format -> switch (format) {
                case F32, F16, BF16 -> 1e-5;
                default -> 1.5e-2;
            };

    /** Matrix units: activations are rounded to the weight's 16-bit type, or to bfloat16 or float16 beside block formats. */
    Tolerance HALF_ACTIVATIONS =
            format -> switch (format) {
                case F32 -> 1e-5;
                case F16 -> 2e-3;
                default -> 1.5e-2;
            };
}
