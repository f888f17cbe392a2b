package dev.millrace.models.checkpoint;

import dev.millrace.core.tensor.WeightFormat;
import java.util.Map;
import java.util.Optional;

/** ggml's numbers for tensor types (enum ggml_type). */
enum GgmlType {
    F32(0),
    F16(1),
    Q4_0(2),
    Q4_1(3),
    Q5_0(6),
    Q5_1(7),
    Q8_0(8),
    Q2_K(10),
    Q3_K(11),
    Q4_K(12),
    Q5_K(13),
    Q6_K(14),
    IQ4_NL(20),
    IQ4_XS(23),
    I8(24, 1),
    I16(25, 2),
    I32(26, 4),
    I64(27, 8),
    F64(28, 8),
    BF16(30);

    private static final Map<Integer, String> UNREAD = Map.ofEntries(
            Map.entry(9, "Q8_1"),
            Map.entry(15, "Q8_K"),
            Map.entry(16, "IQ2_XXS"),
            Map.entry(17, "IQ2_XS"),
            Map.entry(18, "IQ3_XXS"),
            Map.entry(19, "IQ1_S"),
            Map.entry(21, "IQ3_S"),
            Map.entry(22, "IQ2_S"),
            Map.entry(29, "IQ1_M"),
            Map.entry(34, "TQ1_0"),
            Map.entry(35, "TQ2_0"),
            Map.entry(39, "MXFP4"));

    private final int number;
    private final int elementBytes;

    GgmlType(int number) {
        this(number, 0);
    }

    GgmlType(int number, int elementBytes) {
        this.number = number;
        this.elementBytes = elementBytes;
    }

    int number() {
        return number;
    }

    Optional<WeightFormat> format() {
        return elementBytes > 0 ? Optional.empty() : Optional.of(WeightFormat.valueOf(name()));
    }

    int blockElements() {
        return format().map(WeightFormat::blockElements).orElse(1);
    }

    int blockBytes() {
        return format().map(WeightFormat::blockBytes).orElse(elementBytes);
    }

    static GgmlType of(WeightFormat format) {
        return valueOf(format.name());
    }

    static Optional<GgmlType> of(int number) {
        for (GgmlType type : values()) {
            if (type.number == number) {
                return Optional.of(type);
            }
        }
        return Optional.empty();
    }

    /** What to call a type that is not read. */
    static String describe(int number) {
        String name = UNREAD.get(number);
        return name == null ? "type " + Integer.toUnsignedString(number) : name + " (" + number + ")";
    }
}
