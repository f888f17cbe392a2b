package dev.millrace.models.checkpoint;

import java.util.Arrays;

/**
 * A metadata value of a GGUF file.
 *
 * @param type of the value, or of the elements where {@code array}
 * @param value a {@link Number} (Long for integers, BigInteger where a U64 exceeds it, Float or Double), {@link Boolean}
 *     or {@link String}; of an array String[], float[], or long[] (which also holds flags as 0 and 1); Object[] of
 *     nested arrays
 */
public record GgufValue(Type type, boolean array, Object value) {
    /** The format's value types, in the order of their numbers. */
    public enum Type {
        U8,
        I8,
        U16,
        I16,
        U32,
        I32,
        F32,
        BOOL,
        STRING,
        ARRAY,
        U64,
        I64,
        F64;

        /** Bytes of a value; the least bytes of those that vary. */
        int bytes() {
            return switch (this) {
                case U8, I8, BOOL -> 1;
                case U16, I16 -> 2;
                case U32, I32, F32 -> 4;
                case U64, I64, F64, STRING -> 8;
                case ARRAY -> 12;
            };
        }
    }

    /** Elements of an array; 1 for a scalar. */
    public int length() {
        return switch (value) {
            case String[] s -> s.length;
            case float[] f -> f.length;
            case long[] l -> l.length;
            case Object[] o -> o.length;
            default -> 1;
        };
    }

    @Override
    public String toString() {
        return switch (value) {
            case String[] s -> "[" + s.length + " strings]";
            case float[] f -> f.length <= 16 ? Arrays.toString(f) : "[" + f.length + " floats]";
            case long[] l -> l.length <= 16 ? Arrays.toString(l) : "[" + l.length + " integers]";
            case Object[] o -> "[" + o.length + " arrays]";
            default -> String.valueOf(value);
        };
    }
}
