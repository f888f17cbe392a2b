package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** The key-value part of a GGUF file. Getters name the file and the key when a value is missing or of another type. */
public final class GgufMetadata {
    private final Path file;
    private final Map<String, GgufValue> values;

    GgufMetadata(Path file, Map<String, GgufValue> values) {
        this.file = file;
        this.values = Collections.unmodifiableMap(new LinkedHashMap<>(values));
    }

    /** All values in file order. */
    public Map<String, GgufValue> values() {
        return values;
    }

    /** All values without their types: numbers, booleans, strings, and String[], float[] or long[] of lists. */
    public Map<String, Object> plain() {
        Map<String, Object> plain = new LinkedHashMap<>();
        values.forEach((key, value) -> plain.put(key, value.value()));
        return plain;
    }

    public boolean has(String key) {
        return values.containsKey(key);
    }

    /** {@code general.architecture}: gpt2, llama, bert, ... */
    public String architecture() {
        return string("general.architecture");
    }

    public String string(String key) {
        return findString(key).orElseThrow(() -> missing(key));
    }

    public Optional<String> findString(String key) {
        return get(key).map(v -> v.value() instanceof String s ? s : wrong(key, "a string", v));
    }

    public int integer(String key) {
        return findInteger(key).orElseThrow(() -> missing(key));
    }

    public Optional<Integer> findInteger(String key) {
        return get(key).map(v -> v.value() instanceof Long l && l == l.intValue()
                ? Integer.valueOf(l.intValue())
                : wrong(key, "an integer", v));
    }

    public float number(String key) {
        return findNumber(key).orElseThrow(() -> missing(key));
    }

    /** A float, or an integer as one. */
    public Optional<Float> findNumber(String key) {
        return get(key).map(v -> v.value() instanceof Number n ? Float.valueOf(n.floatValue()) : wrong(key, "a number", v));
    }

    public Optional<Boolean> findFlag(String key) {
        return get(key).map(v -> v.value() instanceof Boolean b ? b : wrong(key, "true or false", v));
    }

    public Optional<String[]> findStrings(String key) {
        return get(key).map(v -> v.value() instanceof String[] s ? s.clone() : wrong(key, "a list of strings", v));
    }

    public Optional<float[]> findFloats(String key) {
        return get(key).map(v -> v.value() instanceof float[] f ? f.clone() : wrong(key, "a list of floats", v));
    }

    public Optional<int[]> findIntegers(String key) {
        return get(key).map(v -> {
            if (!(v.value() instanceof long[] numbers)) {
                return wrong(key, "a list of integers", v);
            }
            int[] ints = new int[numbers.length];
            for (int i = 0; i < ints.length; i++) {
                ints[i] = (int) numbers[i];
                if (ints[i] != numbers[i]) {
                    return wrong(key, "a list of 32-bit integers", v);
                }
            }
            return ints;
        });
    }

    private Optional<GgufValue> get(String key) {
        return Optional.ofNullable(values.get(key));
    }

    private MillraceException missing(String key) {
        return Bad.file(file, "metadata key " + key + " is missing");
    }

    private <T> T wrong(String key, String expected, GgufValue found) {
        throw Bad.file(file, "metadata key " + key + ": " + expected + " was expected, found "
                + (found.array() ? "a list of " : "") + found.type() + " " + found);
    }
}
