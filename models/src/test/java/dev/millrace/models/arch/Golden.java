package dev.millrace.models.arch;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Golden values of src/test/resources/goldens; its README says where they come from. A reader of its own, on purpose. */
public final class Golden {
    /** Values of a tensor; integers are exact. */
    public record Values(int[] dims, double[] data) {
        public int[] ints(int from, int count) {
            int[] ints = new int[count];
            Arrays.setAll(ints, i -> (int) data[from + i]);
            return ints;
        }

        /** Row {@code i} of a matrix of ints. */
        public int[] row(int i) {
            return ints(i * dims[1], dims[1]);
        }

        public int rows() {
            return dims[0];
        }
    }

    private Golden() {}

    public static Path folder(String name) {
        try {
            return Path.of(Golden.class.getResource("/goldens/" + name).toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    public static Map<String, Values> expected(String name) {
        return read(folder(name).resolve("expected.safetensors"));
    }

    static Map<String, Values> read(Path file) {
        try {
            ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
            int length = (int) bytes.getLong(0);
            String header = new String(bytes.array(), 8, length, StandardCharsets.UTF_8);
            Map<String, Values> values = new LinkedHashMap<>();
            for (var entry : JsonMapper.shared().readTree(header).properties()) {
                if (!entry.getKey().equals("__metadata__")) {
                    values.put(entry.getKey(), values(entry.getValue(), bytes, 8 + length));
                }
            }
            return values;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Values values(JsonNode entry, ByteBuffer bytes, int data) {
        int[] dims = new int[entry.get("shape").size()];
        Arrays.setAll(dims, i -> entry.get("shape").get(i).intValue());
        int at = data + entry.get("data_offsets").get(0).intValue();
        double[] values = new double[Arrays.stream(dims).reduce(1, Math::multiplyExact)];
        switch (entry.get("dtype").stringValue()) {
            case "F32" -> Arrays.setAll(values, i -> bytes.getFloat(at + 4 * i));
            case "I32" -> Arrays.setAll(values, i -> bytes.getInt(at + 4 * i));
            default -> throw new IllegalStateException(entry.toString());
        }
        return new Values(dims, values);
    }

    /** Room for {@code n} floats. */
    static MemorySegment floats(int n) {
        return MemorySegment.ofArray(new float[n]);
    }

    static float[] array(MemorySegment floats) {
        return floats.toArray(ValueLayout.JAVA_FLOAT);
    }

    /** |found - expected| / |expected|, Euclidean norms over {@code n} elements. */
    public static double relative(float[] found, double[] expected, int from, int n) {
        double difference = 0;
        double size = 0;
        for (int i = 0; i < n; i++) {
            double d = found[i] - expected[from + i];
            difference += d * d;
            size += expected[from + i] * expected[from + i];
        }
        return Math.sqrt(difference / size);
    }
}
