package dev.millrace.cuda.driver;

import dev.millrace.core.MillraceException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * {@code cuTensorMapEncodeTiled}, which JCuda 12.6 lacks, through java.lang.foreign: how the copy engine of compute
 * capability 9.0 reads a row-major matrix, in boxes of 128 bytes by some rows whose 16-byte chunks it swizzles, with
 * zeros outside the matrix. Constants are those of cuda.h.
 */
public final class TensorMaps {
    static final int BYTES = 128;
    static final int ALIGNMENT = 64;

    private static final int BOX_BYTES = 128;
    private static final int SWIZZLE_128B = 3;
    private static final int L2_PROMOTION_256B = 3;
    private static final MethodHandle CALL = find();

    /** dims, strides, box and element steps of one call. */
    private final MemorySegment shape;

    TensorMaps(Arena arena) {
        shape = arena.allocate(48, 8);
        shape.set(ValueLayout.JAVA_INT, 40, 1);
        shape.set(ValueLayout.JAVA_INT, 44, 1);
    }

    /** Whether the driver has them. */
    public static boolean available() {
        return CALL != null;
    }

    /** Elements of a matrix. */
    public enum Element {
        /** Rounded to TF32 on its way. */
        F32(11, 4),
        F16(6, 2),
        BF16(9, 2);

        private final int code;
        private final int bytes;

        Element(int code, int bytes) {
            this.code = code;
            this.bytes = bytes;
        }
    }

    /**
     * Writes a map.
     *
     * @param to where it goes, {@link #BYTES} long and aligned to {@link #ALIGNMENT}
     * @param ld elements from row to row
     */
    void encode(MemorySegment to, long address, Element element, int rows, int columns, int ld, int boxRows) {
        shape.set(ValueLayout.JAVA_LONG, 0, columns);
        shape.set(ValueLayout.JAVA_LONG, 8, rows);
        shape.set(ValueLayout.JAVA_LONG, 16, (long) ld * element.bytes);
        shape.set(ValueLayout.JAVA_INT, 32, BOX_BYTES / element.bytes);
        shape.set(ValueLayout.JAVA_INT, 36, boxRows);
        int code;
        try {
            code = (int) CALL.invokeExact(
                    to,
                    element.code,
                    2,
                    MemorySegment.ofAddress(address),
                    shape,
                    shape.asSlice(16),
                    shape.asSlice(32),
                    shape.asSlice(40),
                    0,
                    SWIZZLE_128B,
                    L2_PROMOTION_256B,
                    0);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new MillraceException("CUDA: cuTensorMapEncodeTiled could not be called: " + e, e);
        }
        Status.check(code, "cuTensorMapEncodeTiled", rows + " x " + columns + " of " + ld + " " + element);
    }

    private static MethodHandle find() {
        return SymbolLookup.libraryLookup(Libcuda.name(), Arena.global())
                .find("cuTensorMapEncodeTiled")
                .map(symbol -> Linker.nativeLinker()
                        .downcallHandle(
                                symbol,
                                FunctionDescriptor.of(
                                        ValueLayout.JAVA_INT,
                                        ValueLayout.ADDRESS,
                                        ValueLayout.JAVA_INT,
                                        ValueLayout.JAVA_INT,
                                        ValueLayout.ADDRESS,
                                        ValueLayout.ADDRESS,
                                        ValueLayout.ADDRESS,
                                        ValueLayout.ADDRESS,
                                        ValueLayout.ADDRESS,
                                        ValueLayout.JAVA_INT,
                                        ValueLayout.JAVA_INT,
                                        ValueLayout.JAVA_INT,
                                        ValueLayout.JAVA_INT)))
                .orElse(null);
    }
}
