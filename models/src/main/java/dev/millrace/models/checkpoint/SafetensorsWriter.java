package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * Collects tensors and writes them as one safetensors file. Nothing is read or converted before {@link #write}, which
 * streams rows a few megabytes at a time.
 */
public final class SafetensorsWriter {
    private record Entry(String name, String type, long[] dims, long bytes, Source source) {}

    private interface Source {
        void write(RowSink sink) throws IOException;
    }

    private final List<Entry> entries = new ArrayList<>();
    private final Map<String, Entry> byName = new HashMap<>();
    private final Map<String, String> metadata = new LinkedHashMap<>();

    /** Adds a line to the header's {@code __metadata__}. */
    public SafetensorsWriter metadata(String key, String value) {
        metadata.put(key, value);
        return this;
    }

    /**
     * Adds a weight of format F32, F16 or BF16, with one dimension where it has one row, else two.
     *
     * @throws MillraceException when the name is taken or the format has no safetensors type
     */
    public SafetensorsWriter add(String name, Weight weight) {
        long rows = weight.shape().rows();
        long columns = weight.shape().columns();
        return add(name, weight, rows == 1 ? new long[] {columns} : new long[] {rows, columns});
    }

    /** Adds a weight with other dimensions of the same number of elements. */
    public SafetensorsWriter add(String name, Weight weight, long... dims) {
        if (weight.format().quantized()) {
            throw new MillraceException("tensor " + name + ": safetensors has no type for " + weight.format()
                    + " blocks: write f32, f16 or bf16, or a GGUF file");
        }
        long elements = 1;
        for (long dim : dims) {
            elements = Math.multiplyExact(elements, dim);
        }
        if (elements != weight.shape().elements()) {
            throw new IllegalArgumentException(name + ": " + weight.shape() + " is not of " + elements + " elements");
        }
        return add(new Entry(name, weight.format().name(), dims.clone(), weight.bytes(), sink -> sink.rows(weight)));
    }

    /** Adds F32 values. */
    public SafetensorsWriter add(String name, float[] values, long... dims) {
        MemorySegment data = littleEndian(values.length, buffer -> buffer.asFloatBuffer().put(values));
        return raw(name, WeightFormat.F32.name(), data, dims);
    }

    /** Adds I32 values. */
    public SafetensorsWriter add(String name, int[] values, long... dims) {
        MemorySegment data = littleEndian(values.length, buffer -> buffer.asIntBuffer().put(values));
        return raw(name, "I32", data, dims);
    }

    /** Adds bytes of any safetensors type as they are. */
    public SafetensorsWriter raw(String name, String type, MemorySegment data, long... dims) {
        return add(new Entry(name, type, dims.clone(), data.byteSize(), sink -> sink.bytes(data)));
    }

    private static MemorySegment littleEndian(int count, java.util.function.Consumer<ByteBuffer> fill) {
        ByteBuffer buffer = ByteBuffer.allocate(Math.multiplyExact(count, 4)).order(ByteOrder.LITTLE_ENDIAN);
        fill.accept(buffer);
        return MemorySegment.ofBuffer(buffer);
    }

    private SafetensorsWriter add(Entry entry) {
        if (byName.putIfAbsent(entry.name(), entry) != null) {
            throw new MillraceException("tensor " + entry.name() + " is added twice");
        }
        entries.add(entry);
        return this;
    }

    /**
     * Writes the file, over another one of that name only when it is complete.
     *
     * @throws MillraceException naming the file when it cannot be written
     */
    public void write(Path path) {
        ObjectNode header = JsonNodeFactory.instance.objectNode();
        if (!metadata.isEmpty()) {
            ObjectNode node = header.putObject("__metadata__");
            metadata.forEach(node::put);
        }
        long offset = 0;
        for (Entry entry : entries) {
            ObjectNode node = header.putObject(entry.name());
            node.put("dtype", entry.type());
            var shape = node.putArray("shape");
            for (long dim : entry.dims()) {
                shape.add(dim);
            }
            node.putArray("data_offsets").add(offset).add(offset + entry.bytes());
            offset = Math.addExact(offset, entry.bytes());
        }
        byte[] json = Json.bytes(header);
        ByteBuffer head = ByteBuffer.allocate(8 + (json.length + 7) / 8 * 8).order(ByteOrder.LITTLE_ENDIAN);
        head.putLong(head.capacity() - 8L).put(json);
        while (head.hasRemaining()) {
            head.put((byte) ' ');
        }
        RowSink.toFile(path, sink -> {
            sink.bytes(MemorySegment.ofBuffer(head.flip()));
            for (Entry entry : entries) {
                entry.source().write(sink);
            }
        });
    }
}
