package dev.millrace.cpu.matmul;

import dev.millrace.cpu.Lanes;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.VectorSpecies;

/**
 * The shape of packed weights. The rows of a matrix are cut into panels of {@link #ROWS}, two vectors of lanes; a panel
 * holds column after column (or block after block of columns), so that a lane is an output row: no sum ever runs
 * across lanes, columns need no remainder loop, and each row's sum takes its terms in the same order in every kernel.
 */
final class Panel {
    /** Rows of a panel. */
    static final int ROWS = 2 * Lanes.COUNT;

    /** All native memory, addressed absolutely: one segment that is a constant to the compiler. */
    static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

    /** Addresses have no more bits: a masked one needs no check, which the compiler would repeat for every access. */
    static final long ADDRESS = 0xFFFFFFFFFFFFL;

    static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    static final VectorSpecies<Float> F = Lanes.F;
    static final int LANES = Lanes.COUNT;
    /** Bytes of a vector of floats. */
    static final int F_BYTES = 4 * LANES;

    private Panel() {}

    /** Panels that hold {@code rows} rows. */
    static int count(int rows) {
        return Math.ceilDiv(rows, ROWS);
    }
}
