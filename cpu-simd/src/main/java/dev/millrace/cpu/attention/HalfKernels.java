package dev.millrace.cpu.attention;

import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.S2I;

import dev.millrace.cpu.Lanes;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Keys and values in float16. Their 16 bits are sign-extended and shifted so that exponent and mantissa stand where a
 * float's do; that float is 2^112 too small, which the other factor makes up for. The largest exponent (infinities,
 * NaN) reads as 2^16 and above.
 *
 * <p>The conversion is written out everywhere and there are at most five in a method: with it in a method of its own,
 * or with nine, C2 stopped inlining at its limit of nodes and kept vectors as objects (4 times slower, 75 KB a head).
 */
final class HalfKernels {
    /** What widened numbers are to be multiplied by. */
    static final float FACTOR = 0x1p112f;

    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final VectorSpecies<Short> H = Lanes.HALF_S;
    private static final int L = Lanes.COUNT;
    /** Bits that a widened half may have set: sign, exponent and mantissa, none of the copies of the sign. */
    private static final int BITS = 0x8FFFE000;

    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final MemorySegment ALL = AttentionKernels.ALL;

    private HalfKernels() {}

    /** As {@link AttentionKernels#block1}; q is multiplied by {@link #FACTOR} already. */
    static void block1(float[] q, int qAt, int headDim, long kAt, float[] s, int sAt) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = a0;
        FloatVector a2 = a0;
        FloatVector a3 = a0;
        long v = (long) L * Short.BYTES;
        int i = qAt;
        long at = kAt;
        for (long end = kAt + v * (headDim & ~3); at < end; at += 4 * v, i += 4) {
            a0 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, at, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(BITS)
                    .reinterpretAsFloats()
                    .fma(FloatVector.broadcast(F, q[i]), a0);
            a1 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, at + v, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(BITS)
                    .reinterpretAsFloats()
                    .fma(FloatVector.broadcast(F, q[i + 1]), a1);
            a2 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, at + 2 * v, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(BITS)
                    .reinterpretAsFloats()
                    .fma(FloatVector.broadcast(F, q[i + 2]), a2);
            a3 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, at + 3 * v, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(BITS)
                    .reinterpretAsFloats()
                    .fma(FloatVector.broadcast(F, q[i + 3]), a3);
        }
        for (; i < qAt + headDim; at += v, i++) {
            a0 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, at, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(BITS)
                    .reinterpretAsFloats()
                    .fma(FloatVector.broadcast(F, q[i]), a0);
        }
        a0.add(a1).add(a2.add(a3)).intoArray(s, sAt);
    }

    /** As {@link AttentionKernels#values1x4}; s is multiplied by {@link #FACTOR} already. */
    static void values1x4(float[] s, int sAt, int from, int to, long vAt, int stride, float[] o, int oAt) {
        FloatVector a0 = FloatVector.fromArray(F, o, oAt);
        FloatVector a1 = FloatVector.fromArray(F, o, oAt + L);
        FloatVector a2 = FloatVector.fromArray(F, o, oAt + 2 * L);
        FloatVector a3 = FloatVector.fromArray(F, o, oAt + 3 * L);
        long row = (long) stride * Short.BYTES;
        long at = vAt + from * row;
        int j = sAt + from;
        for (long end = vAt + to * row; at < end; at += row, j++) {
            FloatVector p = FloatVector.broadcast(F, s[j]);
            a0 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, at, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(BITS)
                    .reinterpretAsFloats()
                    .fma(p, a0);
            a1 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, at + 2L * L, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(BITS)
                    .reinterpretAsFloats()
                    .fma(p, a1);
            a2 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, at + 4L * L, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(BITS)
                    .reinterpretAsFloats()
                    .fma(p, a2);
            a3 = ((IntVector) ShortVector.fromMemorySegment(H, ALL, at + 6L * L, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(BITS)
                    .reinterpretAsFloats()
                    .fma(p, a3);
        }
        a0.intoArray(o, oAt);
        a1.intoArray(o, oAt + L);
        a2.intoArray(o, oAt + 2 * L);
        a3.intoArray(o, oAt + 3 * L);
    }

    /** Float16 to float32, from address to address: {@code count} elements, whole vectors. */
    static void widen(long from, long to, int count) {
        for (int i = 0; i < count; i += L) {
            long at = from + (long) i * Short.BYTES;
            ((IntVector) ShortVector.fromMemorySegment(H, ALL, at, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(BITS)
                    .reinterpretAsFloats()
                    .mul(FACTOR)
                    .intoMemorySegment(ALL, to + (long) i * Float.BYTES, LE);
        }
    }
}
