package dev.millrace.quant;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;

/**
 * Turns floats into the bytes of one {@link WeightFormat} and back. Codecs have no state and are safe to use from
 * several threads.
 *
 * <p>Positions are bytes in the segment and elements in the array; {@code n} is a multiple of the format's block.
 */
public interface BlockCodec {
    WeightFormat format();

    /** Writes the {@code n} elements stored at byte {@code at} of {@code src} to {@code dst} from {@code off}. */
    void decode(MemorySegment src, long at, float[] dst, int off, int n);

    /** Whether {@link #encode} works: the formats with a simple rule, which are the floats and ggml's 32-element blocks. */
    default boolean encodes() {
        return true;
    }

    /**
     * Writes {@code n} elements of {@code src} from {@code off} as blocks at byte {@code at} of {@code dst}: rounding to
     * nearest even for floats, byte for byte ggml's reference quantization for blocks.
     *
     * @throws MillraceException when {@link #encodes} is false
     */
    default void encode(float[] src, int off, int n, MemorySegment dst, long at) {
        throw new MillraceException(
                "format " + format() + " can be read but not written: choose f16, int8 (Q8_0) or int4 (Q4_0)");
    }
}
