package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;

/** What a user asks linear weights to be: {@code --weights native|f32|f16|bf16|int8|int4}. */
public enum WeightRequest {
    /** As the checkpoint stores them, where the executor reads that. */
    NATIVE(null),
    F32(WeightFormat.F32),
    F16(WeightFormat.F16),
    BF16(WeightFormat.BF16),
    INT8(WeightFormat.Q8_0),
    INT4(WeightFormat.Q4_0);

    private final WeightFormat format;

    WeightRequest(WeightFormat format) {
        this.format = format;
    }

    /** The format that is asked for; empty for native. */
    public Optional<WeightFormat> format() {
        return Optional.ofNullable(format);
    }

    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** All labels, for messages. */
    public static String labels() {
        return Arrays.stream(values()).map(WeightRequest::label).collect(Collectors.joining(", "));
    }

    public static Optional<WeightRequest> of(String label) {
        return Arrays.stream(values()).filter(r -> r.label().equals(label)).findFirst();
    }

    @Override
    public String toString() {
        return label();
    }
}
