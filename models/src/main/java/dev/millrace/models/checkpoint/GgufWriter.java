package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Weight;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Collects metadata and tensors and writes them as one GGUF file of version 3. Nothing is read or converted before
 * {@link #write}, which streams rows a few megabytes at a time.
 */
public final class GgufWriter {
    private static final long ALIGNMENT = 32;

    private final Map<String, GgufValue> metadata = new LinkedHashMap<>();
    private final Map<String, Weight> tensors = new LinkedHashMap<>();

    public GgufWriter string(String key, String value) {
        return put(key, new GgufValue(GgufValue.Type.STRING, false, value));
    }

    public GgufWriter u32(String key, long value) {
        if (value < 0 || value > 0xffffffffL) {
            throw new IllegalArgumentException(key + ": " + value + " is no 32-bit number");
        }
        return put(key, new GgufValue(GgufValue.Type.U32, false, value));
    }

    public GgufWriter f32(String key, float value) {
        return put(key, new GgufValue(GgufValue.Type.F32, false, value));
    }

    public GgufWriter flag(String key, boolean value) {
        return put(key, new GgufValue(GgufValue.Type.BOOL, false, value));
    }

    public GgufWriter strings(String key, String[] values) {
        return put(key, new GgufValue(GgufValue.Type.STRING, true, values));
    }

    public GgufWriter floats(String key, float[] values) {
        return put(key, new GgufValue(GgufValue.Type.F32, true, values));
    }

    /** A list of I32. */
    public GgufWriter integers(String key, int[] values) {
        long[] wide = new long[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        return put(key, new GgufValue(GgufValue.Type.I32, true, wide));
    }

    /**
     * Any value, such as one read from another file.
     *
     * @throws MillraceException when the key is there already
     */
    public GgufWriter put(String key, GgufValue value) {
        if (metadata.putIfAbsent(key, value) != null) {
            throw new MillraceException("metadata key " + key + " is added twice");
        }
        return this;
    }

    /**
     * Adds a tensor in the weight's format, with one dimension where it has one row, else two.
     *
     * @throws MillraceException when the name is there already
     */
    public GgufWriter add(String name, Weight weight) {
        if (tensors.putIfAbsent(name, weight) != null) {
            throw new MillraceException("tensor " + name + " is added twice");
        }
        return this;
    }

    /** The tensors added so far. */
    public Map<String, Weight> tensors() {
        return java.util.Collections.unmodifiableMap(tensors);
    }

    /**
     * Writes the file, over another one of that name only when it is complete.
     *
     * @throws MillraceException naming the file when it cannot be written
     */
    public void write(Path path) {
        GgufValue key = metadata.get("general.alignment");
        long alignment = key == null ? ALIGNMENT : (Long) key.value();
        RowSink.toFile(path, sink -> {
            sink.bytes(MemorySegment.ofArray(header(alignment)));
            sink.align(alignment);
            for (Weight weight : tensors.values()) {
                sink.rows(weight);
                sink.align(alignment);
            }
        });
    }

    private byte[] header(long alignment) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (LittleEndian out = new LittleEndian(bytes)) {
            bytes.write("GGUF".getBytes(StandardCharsets.US_ASCII));
            out.int32(3);
            out.int64(tensors.size());
            out.int64(metadata.size());
            for (Map.Entry<String, GgufValue> entry : metadata.entrySet()) {
                out.string(entry.getKey());
                out.value(entry.getValue());
            }
            long offset = 0;
            for (Map.Entry<String, Weight> entry : tensors.entrySet()) {
                Weight weight = entry.getValue();
                out.string(entry.getKey());
                boolean vector = weight.shape().rows() == 1;
                out.int32(vector ? 1 : 2);
                out.int64(weight.shape().columns());
                if (!vector) {
                    out.int64(weight.shape().rows());
                }
                out.int32(GgmlType.of(weight.format()).number());
                out.int64(offset);
                offset = Math.ceilDiv(offset + weight.bytes(), alignment) * alignment;
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    private static final class LittleEndian implements AutoCloseable {
        private final DataOutputStream out;

        LittleEndian(ByteArrayOutputStream bytes) {
            this.out = new DataOutputStream(bytes);
        }

        void int32(int value) throws IOException {
            out.writeInt(Integer.reverseBytes(value));
        }

        void int64(long value) throws IOException {
            out.writeLong(Long.reverseBytes(value));
        }

        void string(String text) throws IOException {
            byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
            int64(utf8.length);
            out.write(utf8);
        }

        void value(GgufValue value) throws IOException {
            int32((value.array() ? GgufValue.Type.ARRAY : value.type()).ordinal());
            body(value);
        }

        private void body(GgufValue value) throws IOException {
            if (!value.array()) {
                scalar(value.type(), value.value());
                return;
            }
            int32(value.type().ordinal());
            int64(value.length());
            switch (value.value()) {
                case String[] strings -> {
                    for (String s : strings) {
                        string(s);
                    }
                }
                case float[] floats -> {
                    for (float f : floats) {
                        scalar(value.type(), f);
                    }
                }
                case long[] numbers -> {
                    for (long n : numbers) {
                        scalar(value.type(), value.type() == GgufValue.Type.BOOL ? (Object) (n != 0) : n);
                    }
                }
                case Object[] nested -> {
                    for (Object o : nested) {
                        body((GgufValue) o);
                    }
                }
                default -> throw new IllegalArgumentException("an array of " + value.value().getClass());
            }
        }

        private void scalar(GgufValue.Type type, Object value) throws IOException {
            switch (type) {
                case U8, I8 -> out.writeByte(((Number) value).intValue());
                case BOOL -> out.writeByte((Boolean) value ? 1 : 0);
                case U16, I16 -> out.writeShort(Short.reverseBytes(((Number) value).shortValue()));
                case U32, I32 -> int32(((Number) value).intValue());
                case F32 -> int32(Float.floatToRawIntBits(((Number) value).floatValue()));
                case U64, I64 -> int64(((Number) value).longValue());
                case F64 -> int64(Double.doubleToRawLongBits(((Number) value).doubleValue()));
                case STRING -> string((String) value);
                case ARRAY -> throw new IllegalArgumentException("an array is no scalar");
            }
        }

        @Override
        public void close() throws IOException {
            out.flush();
        }
    }
}
