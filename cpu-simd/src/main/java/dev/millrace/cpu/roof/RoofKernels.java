package dev.millrace.cpu.roof;

import dev.millrace.cpu.Lanes;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/** Loops that do nothing but what they measure. Each returns a number that depends on all of its work. */
final class RoofKernels {
    /** Bytes that one turn of {@link #read} takes. */
    static final int READ_STEP = 32 * Lanes.COUNT;
    /** Multiply-adds in flight: enough for two units with a latency of four cycles, few enough for the registers. */
    private static final int SUMS = 12;

    private static final VectorSpecies<Short> S = VectorShape.forBitSize(Lanes.BITS).withLanes(short.class);
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    private RoofKernels() {}

    /** Reads [from, to), whole steps, with a long counter: an int one is unrolled out of the order of addresses. */
    static float read(MemorySegment m, long from, long to) {
        FloatVector a = FloatVector.zero(Lanes.F);
        FloatVector b = a;
        FloatVector c = a;
        FloatVector d = a;
        FloatVector e = a;
        FloatVector f = a;
        FloatVector g = a;
        FloatVector h = a;
        long v = 4L * Lanes.COUNT;
        for (long at = from; at < to; at += READ_STEP) {
            a = a.add(FloatVector.fromMemorySegment(Lanes.F, m, at, LE));
            b = b.add(FloatVector.fromMemorySegment(Lanes.F, m, at + v, LE));
            c = c.add(FloatVector.fromMemorySegment(Lanes.F, m, at + 2 * v, LE));
            d = d.add(FloatVector.fromMemorySegment(Lanes.F, m, at + 3 * v, LE));
            e = e.add(FloatVector.fromMemorySegment(Lanes.F, m, at + 4 * v, LE));
            f = f.add(FloatVector.fromMemorySegment(Lanes.F, m, at + 5 * v, LE));
            g = g.add(FloatVector.fromMemorySegment(Lanes.F, m, at + 6 * v, LE));
            h = h.add(FloatVector.fromMemorySegment(Lanes.F, m, at + 7 * v, LE));
        }
        return a.add(b).add(c.add(d)).add(e.add(f).add(g.add(h))).reduceLanes(VectorOperators.ADD);
    }

    /** Float operations of one turn of {@link #multiplyAdd}. */
    static long multiplyAddOps() {
        return 2L * SUMS * Lanes.COUNT;
    }

    /** {@code turns} times {@value #SUMS} independent multiply-adds of registers. */
    static float multiplyAdd(int turns, float seed) {
        FloatVector x = FloatVector.broadcast(Lanes.F, seed);
        FloatVector y = FloatVector.broadcast(Lanes.F, 1f - seed);
        FloatVector a = x;
        FloatVector b = x;
        FloatVector c = x;
        FloatVector d = x;
        FloatVector e = x;
        FloatVector f = x;
        FloatVector g = x;
        FloatVector h = x;
        FloatVector i = x;
        FloatVector j = x;
        FloatVector k = x;
        FloatVector l = x;
        for (int n = 0; n < turns; n++) {
            a = a.fma(y, x);
            b = b.fma(y, x);
            c = c.fma(y, x);
            d = d.fma(y, x);
            e = e.fma(y, x);
            f = f.fma(y, x);
            g = g.fma(y, x);
            h = h.fma(y, x);
            i = i.fma(y, x);
            j = j.fma(y, x);
            k = k.fma(y, x);
            l = l.fma(y, x);
        }
        a = a.add(b).add(c.add(d)).add(e.add(f)).add(g.add(h)).add(i.add(j)).add(k.add(l));
        return a.reduceLanes(VectorOperators.ADD);
    }

    /** Integer operations of one turn of {@link #multiplyAddShorts}. */
    static long multiplyAddShortsOps() {
        return 2L * SUMS * S.length();
    }

    /** {@code turns} times {@value #SUMS} independent multiplications and additions of 16-bit registers. */
    static short multiplyAddShorts(int turns, short seed) {
        ShortVector x = ShortVector.broadcast(S, seed);
        ShortVector a = x;
        ShortVector b = x.add((short) 1);
        ShortVector c = x.add((short) 2);
        ShortVector d = x.add((short) 3);
        ShortVector e = x.add((short) 4);
        ShortVector f = x.add((short) 5);
        ShortVector g = x.add((short) 6);
        ShortVector h = x.add((short) 7);
        ShortVector i = x.add((short) 8);
        ShortVector j = x.add((short) 9);
        ShortVector k = x.add((short) 10);
        ShortVector l = x.add((short) 11);
        for (int n = 0; n < turns; n++) {
            a = a.mul(x).add(x);
            b = b.mul(x).add(x);
            c = c.mul(x).add(x);
            d = d.mul(x).add(x);
            e = e.mul(x).add(x);
            f = f.mul(x).add(x);
            g = g.mul(x).add(x);
            h = h.mul(x).add(x);
            i = i.mul(x).add(x);
            j = j.mul(x).add(x);
            k = k.mul(x).add(x);
            l = l.mul(x).add(x);
        }
        a = a.add(b).add(c.add(d)).add(e.add(f)).add(g.add(h)).add(i.add(j)).add(k.add(l));
        return a.reduceLanes(VectorOperators.ADD);
    }
}
