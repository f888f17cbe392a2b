package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/**
 * One mapped safetensors file. The format (github.com/huggingface/safetensors): 8 bytes little-endian header length, a
 * JSON header of {@code name: {dtype, shape, data_offsets}}, then the data, which the tensors cover without overlap or
 * hole. All of that is checked when the file is opened; no tensor data is read.
 */
public final class Safetensors implements AutoCloseable {
    /** The format's own limit. */
    private static final long MAX_HEADER = 100_000_000;

    private final MappedFile file;
    private final Map<String, Tensor> tensors;
    private final Map<String, String> metadata;

    private Safetensors(MappedFile file) {
        this.file = file;
        long size = file.size();
        if (size < 8) {
            throw wrong("a safetensors file starts with 8 bytes of header length, this one has " + size + " bytes");
        }
        long length = file.segment().get(ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), 0);
        if (length < 2 || length > size - 8) {
            throw wrong("header length " + Long.toUnsignedString(length) + " does not fit the file's " + size + " bytes:"
                    + " truncated, or not a safetensors file");
        }
        if (length > MAX_HEADER) {
            throw wrong("header length " + length + " is over the format's limit of " + MAX_HEADER);
        }
        byte[] header = file.segment().asSlice(8, length).toArray(ValueLayout.JAVA_BYTE);
        JsonNode root = Json.parse(header, 0, header.length, file.path() + ": header");
        MemorySegment data = file.segment().asSlice(8 + length);
        Map<String, String> strings = new LinkedHashMap<>();
        Map<String, Tensor> found = new LinkedHashMap<>();
        List<Extent> extents = new ArrayList<>();
        for (Map.Entry<String, JsonNode> entry : root.properties()) {
            if (entry.getKey().equals("__metadata__")) {
                metadata(entry.getValue(), strings);
            } else {
                Entry tensor = new Entry(entry.getKey(), entry.getValue());
                extents.add(tensor.extent(data.byteSize()));
                found.put(entry.getKey(), tensor.tensor(data));
            }
        }
        coverage(extents, data.byteSize());
        this.metadata = Collections.unmodifiableMap(strings);
        this.tensors = Collections.unmodifiableMap(found);
    }

    /**
     * Maps and checks a file.
     *
     * @throws MillraceException naming the file and what is wrong with it
     */
    public static Safetensors open(Path path) {
        MappedFile file = MappedFile.open(path);
        try {
            return new Safetensors(file);
        } catch (RuntimeException | Error e) {
            file.close();
            throw e;
        }
    }

    public Path path() {
        return file.path();
    }

    /** All tensors, in the header's order. */
    public Map<String, Tensor> tensors() {
        return tensors;
    }

    /**
     * The tensor of that name.
     *
     * @throws MillraceException when there is none
     */
    public Tensor tensor(String name) {
        Tensor tensor = tensors.get(name);
        if (tensor == null) {
            throw wrong("no tensor " + name + " among " + tensors.size());
        }
        return tensor;
    }

    /** The header's {@code __metadata__}. */
    public Map<String, String> metadata() {
        return metadata;
    }

    @Override
    public void close() {
        file.close();
    }

    private void metadata(JsonNode node, Map<String, String> into) {
        if (!node.isObject()) {
            throw wrong("__metadata__ is not an object of strings");
        }
        node.properties().forEach(e -> {
            if (!e.getValue().isString()) {
                throw wrong("__metadata__ " + e.getKey() + " is not a string");
            }
            into.put(e.getKey(), e.getValue().stringValue());
        });
    }

    private record Extent(String name, long begin, long end) {}

    private void coverage(List<Extent> extents, long size) {
        extents.sort(Comparator.comparingLong(Extent::begin).thenComparingLong(Extent::end));
        long covered = 0;
        String before = "the header";
        for (Extent extent : extents) {
            if (extent.begin() < covered) {
                throw wrong("tensors " + before + " and " + extent.name() + " overlap at byte " + extent.begin());
            }
            if (extent.begin() > covered) {
                throw wrong("bytes " + covered + " to " + extent.begin() + " between " + before + " and "
                        + extent.name() + " belong to no tensor");
            }
            covered = extent.end();
            before = extent.name();
        }
        if (covered != size) {
            throw wrong("the tensors end at byte " + covered + " of the data, the file has " + size);
        }
    }

    private MillraceException wrong(String what) {
        return Bad.file(file.path(), what);
    }

    /** One tensor's entry in the header, checked as it is taken apart. */
    private final class Entry {
        private final String name;
        private final String type;
        private final List<Long> dims = new ArrayList<>();
        private final long begin;
        private final long end;

        Entry(String name, JsonNode node) {
            this.name = name;
            JsonNode dtype = node.get("dtype");
            JsonNode shape = node.get("shape");
            JsonNode offsets = node.get("data_offsets");
            if (dtype == null || !dtype.isString()) {
                throw wrong("no dtype");
            }
            this.type = dtype.stringValue();
            if (shape == null || !shape.isArray() || shape.size() > 16) {
                throw wrong("shape is not a list of up to 16 sizes");
            }
            for (JsonNode dim : shape) {
                dims.add(size(dim, "shape"));
            }
            if (offsets == null || !offsets.isArray() || offsets.size() != 2) {
                throw wrong("data_offsets is not a pair");
            }
            this.begin = size(offsets.get(0), "data_offsets");
            this.end = size(offsets.get(1), "data_offsets");
        }

        Extent extent(long size) {
            if (begin > end || end > size) {
                throw wrong("data_offsets [" + begin + ", " + end + "] lie outside the file's " + size + " bytes of data");
            }
            long bytes;
            try {
                bytes = dims.stream().mapToLong(Long::longValue).reduce(elementBytes(), Math::multiplyExact);
            } catch (ArithmeticException e) {
                throw wrong("shape " + dims + " overflows");
            }
            if (bytes != end - begin) {
                throw wrong("shape " + dims + " " + type + " takes " + bytes + " bytes, data_offsets [" + begin + ", "
                        + end + "] hold " + (end - begin));
            }
            return new Extent(name, begin, end);
        }

        Tensor tensor(MemorySegment data) {
            return new Tensor(file.path(), name, type, format(), dims, data.asSlice(begin, end - begin));
        }

        private long elementBytes() {
            return switch (type) {
                case "BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2" -> 1;
                case "U16", "I16", "F16", "BF16" -> 2;
                case "U32", "I32", "F32" -> 4;
                case "U64", "I64", "F64" -> 8;
                default -> throw wrong("dtype " + type + " is not known");
            };
        }

        private Optional<WeightFormat> format() {
            return switch (type) {
                case "F32" -> Optional.of(WeightFormat.F32);
                case "F16" -> Optional.of(WeightFormat.F16);
                case "BF16" -> Optional.of(WeightFormat.BF16);
                default -> Optional.empty();
            };
        }

        private long size(JsonNode node, String field) {
            if (!node.isIntegralNumber() || !node.canConvertToLong() || node.longValue() < 0) {
                throw wrong(field + " holds " + node + ", not a size");
            }
            return node.longValue();
        }

        private MillraceException wrong(String what) {
            return Safetensors.this.wrong("tensor " + name + ": " + what);
        }
    }
}
