package dev.millrace.cpu.attention;

import dev.millrace.cpu.Lanes;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Keys and values in float16. Their 16 bits are sign-extended and shifted so that exponent and mantissa stand where a
 * float's do; that float is 2^112 too small, which the other factor makes up for. The largest exponent (infinities,
 * NaN) reads as 2^16 and above.
 */
final class HalfKernels {
    /** What widened numbers are to be multiplied by. */
    static final float FACTOR = 0x1p112f;

    private static final int L = Lanes.COUNT;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final MemorySegment ALL = AttentionKernels.ALL;

    private HalfKernels() {}

    /** A vector of halves at an address as floats that are {@link #FACTOR} too small; short, so that it is inlined. */
    private static FloatVector load(long at) {
        return ((IntVector) ShortVector.fromMemorySegment(Lanes.HALF_S, ALL, at, LE)
                        .convertShape(VectorOperators.S2I, Lanes.I, 0))
                .lanewise(VectorOperators.LSHL, 13)
                .and(0x8FFFE000)
                .reinterpretAsFloats();
    }

    /** As {@link AttentionKernels#block1}; q is multiplied by {@link #FACTOR} already. */
    static void block1(float[] q, int qAt, int headDim, long kAt, float[] s, int sAt) {
        FloatVector a0 = FloatVector.zero(Lanes.F);
        FloatVector a1 = a0;
        FloatVector a2 = a0;
        FloatVector a3 = a0;
        long v = (long) L * Short.BYTES;
        int i = qAt;
        long at = kAt;
        for (long end = kAt + v * (headDim & ~3); at < end; at += 4 * v, i += 4) {
            a0 = load(at).fma(FloatVector.broadcast(Lanes.F, q[i]), a0);
            a1 = load(at + v)
                    .fma(FloatVector.broadcast(Lanes.F, q[i + 1]), a1);
            a2 = load(at + 2 * v)
                    .fma(FloatVector.broadcast(Lanes.F, q[i + 2]), a2);
            a3 = load(at + 3 * v)
                    .fma(FloatVector.broadcast(Lanes.F, q[i + 3]), a3);
        }
        for (; i < qAt + headDim; at += v, i++) {
            a0 = load(at).fma(FloatVector.broadcast(Lanes.F, q[i]), a0);
        }
        a0.add(a1).add(a2.add(a3)).intoArray(s, sAt);
    }

    /** As {@link AttentionKernels#values1x4}; s is multiplied by {@link #FACTOR} already. */
    static void values1x4(
            float[] s, int sAt, int from, int to, long vAt, int stride, float[] o, int oAt) {
        FloatVector a0 = FloatVector.fromArray(Lanes.F, o, oAt);
        FloatVector a1 = FloatVector.fromArray(Lanes.F, o, oAt + L);
        FloatVector a2 = FloatVector.fromArray(Lanes.F, o, oAt + 2 * L);
        FloatVector a3 = FloatVector.fromArray(Lanes.F, o, oAt + 3 * L);
        FloatVector b0 = FloatVector.zero(Lanes.F);
        FloatVector b1 = b0;
        FloatVector b2 = b0;
        FloatVector b3 = b0;
        long row = (long) stride * Short.BYTES;
        int j = from;
        for (; j < to - 1; j += 2) {
            long at = vAt + j * row;
            FloatVector p = FloatVector.broadcast(Lanes.F, s[sAt + j]);
            FloatVector r = FloatVector.broadcast(Lanes.F, s[sAt + j + 1]);
            a0 = load(at).fma(p, a0);
            a1 = load(at + 2L * L).fma(p, a1);
            a2 = load(at + 4L * L).fma(p, a2);
            a3 = load(at + 6L * L).fma(p, a3);
            b0 = load(at + row).fma(r, b0);
            b1 = load(at + row + 2L * L).fma(r, b1);
            b2 = load(at + row + 4L * L).fma(r, b2);
            b3 = load(at + row + 6L * L).fma(r, b3);
        }
        if (j < to) {
            long at = vAt + j * row;
            FloatVector p = FloatVector.broadcast(Lanes.F, s[sAt + j]);
            a0 = load(at).fma(p, a0);
            a1 = load(at + 2L * L).fma(p, a1);
            a2 = load(at + 4L * L).fma(p, a2);
            a3 = load(at + 6L * L).fma(p, a3);
        }
        a0.add(b0).intoArray(o, oAt);
        a1.add(b1).intoArray(o, oAt + L);
        a2.add(b2).intoArray(o, oAt + 2 * L);
        a3.add(b3).intoArray(o, oAt + 3 * L);
    }

    /** Float16 to float32, from address to address: {@code count} elements, whole vectors. */
    static void widen(long from, long to, int count) {
        for (int i = 0; i < count; i += L) {
            load(from + (long) i * Short.BYTES).mul(FACTOR).intoMemorySegment(ALL, to + (long) i * Float.BYTES, LE);
        }
    }
}
