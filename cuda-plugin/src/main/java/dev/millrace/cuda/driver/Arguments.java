package dev.millrace.cuda.driver;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The one by-value struct that every kernel takes, written field by field with C's natural alignment into native memory
 * that is ready to be handed to the driver. The driver copies it at launch (and when a launch is captured), so one block
 * serves all launches of a stream and a launch allocates nothing.
 */
public final class Arguments {
    private static final int CAPACITY = 4096;

    private final MemorySegment pointers;
    private final MemorySegment struct;
    private final TensorMaps maps;
    private long end;

    public Arguments(Arena arena) {
        pointers = arena.allocate(ValueLayout.ADDRESS);
        struct = arena.allocate(CAPACITY, TensorMaps.ALIGNMENT);
        maps = new TensorMaps(arena);
        pointers.set(ValueLayout.ADDRESS, 0, struct);
    }

    /** Starts a new struct. */
    public Arguments begin() {
        end = 0;
        return this;
    }

    /** A pointer or a {@code long long}. */
    public Arguments put(long value) {
        end = (end + 7) & ~7L;
        struct.set(ValueLayout.JAVA_LONG, end, value);
        end += 8;
        return this;
    }

    public Arguments put(double value) {
        return put(Double.doubleToRawLongBits(value));
    }

    public Arguments put(int value) {
        struct.set(ValueLayout.JAVA_INT, end, value);
        end += 4;
        return this;
    }

    public Arguments put(float value) {
        return put(Float.floatToRawIntBits(value));
    }

    /** How the copy engine reads a matrix of {@code rows} x {@code columns}, rows {@code ld} elements apart, in boxes of 128 bytes x {@code boxRows}. */
    public Arguments putMap(long address, TensorMaps.Element element, int rows, int columns, int ld, int boxRows) {
        end = (end + TensorMaps.ALIGNMENT - 1) & -TensorMaps.ALIGNMENT;
        maps.encode(struct.asSlice(end, TensorMaps.BYTES), address, element, rows, columns, ld, boxRows);
        end += TensorMaps.BYTES;
        return this;
    }

    /** Pads to the alignment of a struct that holds pointers. */
    public Arguments align() {
        end = (end + 7) & ~7L;
        return this;
    }

    /** Bytes written so far. */
    public long bytes() {
        return end;
    }

    /** The struct as written. */
    public MemorySegment struct() {
        return struct.asSlice(0, end);
    }

    MemorySegment pointers() {
        return pointers;
    }
}
