package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.math.BigInteger;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Takes a GGUF file apart (versions 2 and 3, little-endian; ggml's docs/gguf.md): magic, version, counts, key-value
 * pairs, tensor infos, then data from the next multiple of {@code general.alignment}. Every count and length is held
 * against the bytes that are left before anything is allocated for it.
 */
final class GgufReader {
    private static final int MAGIC = 0x46554747;
    private static final long MAX_KEYS = 1 << 16;
    private static final long MAX_TENSORS = 1 << 17;
    private static final long MAX_ELEMENTS = 8 << 20;
    private static final long MAX_TEXT = 64 << 20;
    private static final int MAX_NESTING = 3;
    private static final int MAX_DIMS = 8;

    private final Path path;
    private final MemorySegment file;
    private long at;
    private long elements;
    private long text;

    final GgufMetadata metadata;
    final Map<String, Tensor> tensors;

    GgufReader(MappedFile mapped) {
        this.path = mapped.path();
        this.file = mapped.segment();
        if (file.byteSize() < 24 || int32("magic") != MAGIC) {
            throw wrong("does not start with GGUF and a header of 24 bytes: not a GGUF file, or truncated");
        }
        int version = int32("version");
        if (version != 2 && version != 3) {
            throw wrong(Integer.reverseBytes(version) > 0 && Integer.reverseBytes(version) < 16
                    ? "is a big-endian GGUF file, which is not read"
                    : "GGUF version " + Integer.toUnsignedString(version) + " is not read, 2 and 3 are");
        }
        long tensorCount = count("tensor count", MAX_TENSORS, 24);
        long keyCount = count("metadata count", MAX_KEYS, 13);
        this.metadata = new GgufMetadata(path, metadata(keyCount));
        this.tensors = Collections.unmodifiableMap(tensors(tensorCount));
    }

    private Map<String, GgufValue> metadata(long count) {
        Map<String, GgufValue> values = new LinkedHashMap<>();
        for (long i = 0; i < count; i++) {
            String key = string("metadata key " + i);
            String what = "metadata key " + key;
            GgufValue value = value(type(what), what, 0);
            if (values.putIfAbsent(key, value) != null) {
                throw wrong(what + " is there twice");
            }
        }
        return values;
    }

    private GgufValue.Type type(String what) {
        int number = int32(what);
        GgufValue.Type[] types = GgufValue.Type.values();
        if (number < 0 || number >= types.length) {
            throw wrong(what + ": value type " + Integer.toUnsignedString(number) + " is not known");
        }
        return types[number];
    }

    private GgufValue value(GgufValue.Type type, String what, int depth) {
        if (type != GgufValue.Type.ARRAY) {
            return new GgufValue(type, false, scalar(type, what));
        }
        if (depth >= MAX_NESTING) {
            throw wrong(what + ": arrays nest deeper than " + MAX_NESTING);
        }
        GgufValue.Type element = type(what);
        long length = count(what + ": array length", MAX_ELEMENTS - elements, element.bytes());
        elements += length;
        int n = (int) length;
        return new GgufValue(element, true, switch (element) {
            case STRING -> {
                String[] strings = new String[n];
                for (int i = 0; i < n; i++) {
                    strings[i] = string(what);
                }
                yield strings;
            }
            case F32, F64 -> {
                float[] floats = new float[n];
                for (int i = 0; i < n; i++) {
                    floats[i] = ((Number) scalar(element, what)).floatValue();
                }
                yield floats;
            }
            case ARRAY -> {
                Object[] nested = new Object[n];
                for (int i = 0; i < n; i++) {
                    nested[i] = value(element, what, depth + 1);
                }
                yield nested;
            }
            case BOOL -> {
                long[] flags = new long[n];
                for (int i = 0; i < n; i++) {
                    flags[i] = (Boolean) scalar(element, what) ? 1 : 0;
                }
                yield flags;
            }
            default -> {
                long[] numbers = new long[n];
                for (int i = 0; i < n; i++) {
                    numbers[i] = scalar(element, what) instanceof Long l ? l : tooLarge(what);
                }
                yield numbers;
            }
        });
    }

    private long tooLarge(String what) {
        throw wrong(what + ": a list with a number over 2^63");
    }

    private Object scalar(GgufValue.Type type, String what) {
        return switch (type) {
            case U8 -> (long) (int8(what) & 0xff);
            case I8 -> (long) int8(what);
            case U16 -> (long) (int16(what) & 0xffff);
            case I16 -> (long) int16(what);
            case U32 -> int32(what) & 0xffffffffL;
            case I32 -> (long) int32(what);
            case F32 -> Float.intBitsToFloat(int32(what));
            case BOOL -> {
                byte flag = int8(what);
                if (flag != 0 && flag != 1) {
                    throw wrong(what + ": a flag is " + flag + ", not 0 or 1");
                }
                yield flag == 1;
            }
            case STRING -> string(what);
            case U64 -> {
                long bits = int64(what);
                yield bits >= 0 ? (Object) bits : new BigInteger(Long.toUnsignedString(bits));
            }
            case I64 -> int64(what);
            case F64 -> Double.longBitsToDouble(int64(what));
            case ARRAY -> throw new AssertionError(type);
        };
    }

    private record Info(String name, GgmlType type, List<Long> dims, long offset, long bytes) {}

    private Map<String, Tensor> tensors(long count) {
        List<Info> infos = new ArrayList<>();
        for (long i = 0; i < count; i++) {
            infos.add(info("tensor " + i));
        }
        long alignment = alignment();
        long start = Math.ceilDiv(at, alignment) * alignment;
        if (count > 0 && start > file.byteSize()) {
            throw wrong("ends at byte " + file.byteSize() + " before its data, which begins at " + start);
        }
        MemorySegment data = file.asSlice(Math.min(start, file.byteSize()));
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        for (Info info : infos) {
            String what = "tensor " + info.name();
            if (info.offset() % alignment != 0) {
                throw wrong(what + ": offset " + info.offset() + " is no multiple of the alignment " + alignment);
            }
            if (info.offset() < 0 || info.offset() > data.byteSize() || info.bytes() > data.byteSize() - info.offset()) {
                throw wrong(what + ": " + info.bytes() + " bytes at offset " + Long.toUnsignedString(info.offset())
                        + " end past the file's " + data.byteSize() + " bytes of data: truncated?");
            }
            MemorySegment slice = data.asSlice(info.offset(), info.bytes());
            Tensor tensor =
                    new Tensor(path, info.name(), info.type().name(), info.type().format(), info.dims(), slice);
            if (tensors.putIfAbsent(info.name(), tensor) != null) {
                throw wrong(what + " is there twice");
            }
        }
        infos.sort(Comparator.comparingLong(Info::offset).thenComparingLong(Info::bytes));
        for (int i = 1; i < infos.size(); i++) {
            Info before = infos.get(i - 1);
            if (before.offset() + before.bytes() > infos.get(i).offset()) {
                throw wrong("tensors " + before.name() + " and " + infos.get(i).name() + " overlap at offset "
                        + infos.get(i).offset());
            }
        }
        return tensors;
    }

    private Info info(String position) {
        String name = string(position + ": name");
        String what = "tensor " + name;
        int rank = int32(what);
        if (rank < 0 || rank > MAX_DIMS) {
            throw wrong(what + ": " + Integer.toUnsignedString(rank) + " dimensions");
        }
        List<Long> dims = new ArrayList<>();
        for (int i = 0; i < rank; i++) {
            dims.add(int64(what));
        }
        int number = int32(what);
        long offset = int64(what);
        GgmlType type = GgmlType.of(number)
                .orElseThrow(() -> wrong(what + ": " + GgmlType.describe(number) + " is not read; f32, f16, bf16, q4_0,"
                        + " q4_1, q5_0, q5_1, q8_0, q2_k to q6_k, iq4_nl and iq4_xs are"));
        long row = dims.isEmpty() ? 1 : dims.getFirst();
        long bytes;
        try {
            for (long dim : dims) {
                if (dim < 0) {
                    throw new ArithmeticException();
                }
            }
            if (row % type.blockElements() != 0) {
                throw wrong(what + ": rows of " + row + " elements are no multiple of " + type + "'s block of "
                        + type.blockElements());
            }
            bytes = Math.multiplyExact(row / type.blockElements(), type.blockBytes());
            for (int i = 1; i < rank; i++) {
                bytes = Math.multiplyExact(bytes, dims.get(i));
            }
            dims.reversed().stream().mapToLong(Long::longValue).reduce(1, Math::multiplyExact);
        } catch (ArithmeticException e) {
            throw wrong(what + ": dimensions " + dims + " overflow");
        }
        return new Info(name, type, dims.reversed(), offset, bytes);
    }

    private long alignment() {
        long alignment = metadata.findInteger("general.alignment").orElse(32);
        if (alignment < 1 || alignment > 1 << 20 || Long.bitCount(alignment) != 1) {
            throw wrong("metadata key general.alignment: " + alignment + " is no power of two up to 2^20");
        }
        return alignment;
    }

    /** A number of things that take at least {@code least} bytes each. */
    private long count(String what, long most, int least) {
        long count = int64(what);
        if (count < 0 || count > left() / least) {
            throw wrong(what + " " + Long.toUnsignedString(count) + " is more than the file's " + left()
                    + " bytes left can hold");
        }
        if (count > most) {
            throw wrong(what + " " + count + " is over the limit of " + most);
        }
        return count;
    }

    private String string(String what) {
        long length = int64(what);
        if (length < 0 || length > left()) {
            throw wrong(what + ": a string of " + Long.toUnsignedString(length) + " bytes where " + left() + " are left");
        }
        text += length;
        if (text > MAX_TEXT) {
            throw wrong(what + ": more than " + MAX_TEXT + " bytes of text in all");
        }
        byte[] bytes = file.asSlice(at, length).toArray(ValueLayout.JAVA_BYTE);
        at += length;
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private long left() {
        return file.byteSize() - at;
    }

    private long take(int bytes, String what) {
        if (left() < bytes) {
            throw wrong(what + ": the file ends at byte " + file.byteSize());
        }
        long from = at;
        at += bytes;
        return from;
    }

    private byte int8(String what) {
        return file.get(ValueLayout.JAVA_BYTE, take(1, what));
    }

    private short int16(String what) {
        return file.get(ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), take(2, what));
    }

    private int int32(String what) {
        return file.get(ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), take(4, what));
    }

    private long int64(String what) {
        return file.get(ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), take(8, what));
    }

    private MillraceException wrong(String what) {
        return Bad.file(path, what);
    }
}
