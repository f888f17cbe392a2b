package dev.millrace.cpu.attention;

import dev.millrace.cpu.Lanes;
import dev.millrace.cpu.kv.KvCache;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;

/**
 * The inner loops of attention, for one or four query rows. Every method is one flat loop over registers. Reading
 * prompts, where keys and values are in the cache, they take a tile of positions: 4 x 4 sums for 4 loads and 4
 * broadcasts reach 90% of the multiply-add rate. Decoding, where they come from memory, they take a block of positions
 * after the other: one stream in the order of addresses, which its prefetcher follows (26 GB/s of 32, against 20 in 4
 * streams).
 */
final class AttentionKernels {
    private static final int L = Lanes.COUNT;
    private static final int TILE = KvCache.TILE;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    /**
     * All native memory: keys and values are given by address. A segment that is a constant is checked once; one that
     * is a parameter is checked for being open in every turn of a loop that writes.
     */
    static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

    private AttentionKernels() {}

    /**
     * s[row, position] = q[row] . k[position] for 4 rows, q [4, headDim] from qAt, keys at address kAt, s [4, TILE]
     * from sAt.
     */
    static void scores4(float[] q, int qAt, int headDim, long kAt, float[] s, int sAt) {
        FloatVector a0 = FloatVector.zero(Lanes.F);
        FloatVector a1 = a0;
        FloatVector a2 = a0;
        FloatVector a3 = a0;
        FloatVector b0 = a0;
        FloatVector b1 = a0;
        FloatVector b2 = a0;
        FloatVector b3 = a0;
        FloatVector c0 = a0;
        FloatVector c1 = a0;
        FloatVector c2 = a0;
        FloatVector c3 = a0;
        FloatVector d0 = a0;
        FloatVector d1 = a0;
        FloatVector d2 = a0;
        FloatVector d3 = a0;
        long block = (long) headDim * L * Float.BYTES;
        for (int i = 0; i < headDim; i++) {
            long at = kAt + (long) i * L * Float.BYTES;
            FloatVector k0 = FloatVector.fromMemorySegment(Lanes.F, ALL, at, LE);
            FloatVector k1 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + block, LE);
            FloatVector k2 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 2 * block, LE);
            FloatVector k3 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 3 * block, LE);
            FloatVector x = FloatVector.broadcast(Lanes.F, q[qAt + i]);
            a0 = k0.fma(x, a0);
            a1 = k1.fma(x, a1);
            a2 = k2.fma(x, a2);
            a3 = k3.fma(x, a3);
            x = FloatVector.broadcast(Lanes.F, q[qAt + headDim + i]);
            b0 = k0.fma(x, b0);
            b1 = k1.fma(x, b1);
            b2 = k2.fma(x, b2);
            b3 = k3.fma(x, b3);
            x = FloatVector.broadcast(Lanes.F, q[qAt + 2 * headDim + i]);
            c0 = k0.fma(x, c0);
            c1 = k1.fma(x, c1);
            c2 = k2.fma(x, c2);
            c3 = k3.fma(x, c3);
            x = FloatVector.broadcast(Lanes.F, q[qAt + 3 * headDim + i]);
            d0 = k0.fma(x, d0);
            d1 = k1.fma(x, d1);
            d2 = k2.fma(x, d2);
            d3 = k3.fma(x, d3);
        }
        a0.intoArray(s, sAt);
        a1.intoArray(s, sAt + L);
        a2.intoArray(s, sAt + 2 * L);
        a3.intoArray(s, sAt + 3 * L);
        b0.intoArray(s, sAt + TILE);
        b1.intoArray(s, sAt + TILE + L);
        b2.intoArray(s, sAt + TILE + 2 * L);
        b3.intoArray(s, sAt + TILE + 3 * L);
        c0.intoArray(s, sAt + 2 * TILE);
        c1.intoArray(s, sAt + 2 * TILE + L);
        c2.intoArray(s, sAt + 2 * TILE + 2 * L);
        c3.intoArray(s, sAt + 2 * TILE + 3 * L);
        d0.intoArray(s, sAt + 3 * TILE);
        d1.intoArray(s, sAt + 3 * TILE + L);
        d2.intoArray(s, sAt + 3 * TILE + 2 * L);
        d3.intoArray(s, sAt + 3 * TILE + 3 * L);
    }

    /** {@link #scores4} for one block of positions, the same bits: what a row sees last seldom is a whole tile. */
    static void scores4x1(float[] q, int qAt, int headDim, long kAt, float[] s, int sAt) {
        FloatVector a = FloatVector.zero(Lanes.F);
        FloatVector b = a;
        FloatVector c = a;
        FloatVector d = a;
        for (int i = 0; i < headDim; i++) {
            FloatVector k = FloatVector.fromMemorySegment(Lanes.F, ALL, kAt + (long) i * L * Float.BYTES, LE);
            a = k.fma(FloatVector.broadcast(Lanes.F, q[qAt + i]), a);
            b = k.fma(FloatVector.broadcast(Lanes.F, q[qAt + headDim + i]), b);
            c = k.fma(FloatVector.broadcast(Lanes.F, q[qAt + 2 * headDim + i]), c);
            d = k.fma(FloatVector.broadcast(Lanes.F, q[qAt + 3 * headDim + i]), d);
        }
        a.intoArray(s, sAt);
        b.intoArray(s, sAt + TILE);
        c.intoArray(s, sAt + 2 * TILE);
        d.intoArray(s, sAt + 3 * TILE);
    }

    /** The scores of one row and one block of positions; s from sAt. A long counter keeps loads in order of address. */
    static void block1(float[] q, int qAt, int headDim, long kAt, float[] s, int sAt) {
        FloatVector a0 = FloatVector.zero(Lanes.F);
        FloatVector a1 = a0;
        FloatVector a2 = a0;
        FloatVector a3 = a0;
        long v = (long) L * Float.BYTES;
        int i = qAt;
        long at = kAt;
        for (long end = kAt + v * (headDim & ~3); at < end; at += 4 * v, i += 4) {
            a0 = FloatVector.fromMemorySegment(Lanes.F, ALL, at, LE).fma(FloatVector.broadcast(Lanes.F, q[i]), a0);
            a1 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + v, LE)
                    .fma(FloatVector.broadcast(Lanes.F, q[i + 1]), a1);
            a2 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 2 * v, LE)
                    .fma(FloatVector.broadcast(Lanes.F, q[i + 2]), a2);
            a3 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 3 * v, LE)
                    .fma(FloatVector.broadcast(Lanes.F, q[i + 3]), a3);
        }
        for (; i < qAt + headDim; at += v, i++) {
            a0 = FloatVector.fromMemorySegment(Lanes.F, ALL, at, LE).fma(FloatVector.broadcast(Lanes.F, q[i]), a0);
        }
        a0.add(a1).add(a2.add(a3)).intoArray(s, sAt);
    }

    /** The scores of 4 rows and one block: q [4, headDim] from qAt, keys at address kAt, s [4, TILE] from sAt. */
    static void block4(float[] q, int qAt, int headDim, long kAt, float[] s, int sAt) {
        FloatVector a0 = FloatVector.zero(Lanes.F);
        FloatVector a1 = a0;
        FloatVector b0 = a0;
        FloatVector b1 = a0;
        FloatVector c0 = a0;
        FloatVector c1 = a0;
        FloatVector d0 = a0;
        FloatVector d1 = a0;
        long v = (long) L * Float.BYTES;
        int i = qAt;
        long at = kAt;
        for (long end = kAt + v * (headDim & ~1); at < end; at += 2 * v, i += 2) {
            FloatVector k0 = FloatVector.fromMemorySegment(Lanes.F, ALL, at, LE);
            FloatVector k1 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + v, LE);
            a0 = k0.fma(FloatVector.broadcast(Lanes.F, q[i]), a0);
            a1 = k1.fma(FloatVector.broadcast(Lanes.F, q[i + 1]), a1);
            b0 = k0.fma(FloatVector.broadcast(Lanes.F, q[i + headDim]), b0);
            b1 = k1.fma(FloatVector.broadcast(Lanes.F, q[i + headDim + 1]), b1);
            c0 = k0.fma(FloatVector.broadcast(Lanes.F, q[i + 2 * headDim]), c0);
            c1 = k1.fma(FloatVector.broadcast(Lanes.F, q[i + 2 * headDim + 1]), c1);
            d0 = k0.fma(FloatVector.broadcast(Lanes.F, q[i + 3 * headDim]), d0);
            d1 = k1.fma(FloatVector.broadcast(Lanes.F, q[i + 3 * headDim + 1]), d1);
        }
        if (i < qAt + headDim) {
            FloatVector k0 = FloatVector.fromMemorySegment(Lanes.F, ALL, at, LE);
            a0 = k0.fma(FloatVector.broadcast(Lanes.F, q[i]), a0);
            b0 = k0.fma(FloatVector.broadcast(Lanes.F, q[i + headDim]), b0);
            c0 = k0.fma(FloatVector.broadcast(Lanes.F, q[i + 2 * headDim]), c0);
            d0 = k0.fma(FloatVector.broadcast(Lanes.F, q[i + 3 * headDim]), d0);
        }
        a0.add(a1).intoArray(s, sAt);
        b0.add(b1).intoArray(s, sAt + TILE);
        c0.add(c1).intoArray(s, sAt + 2 * TILE);
        d0.add(d1).intoArray(s, sAt + 3 * TILE);
    }

    /**
     * o[row] += sum over positions [from, to) of s[row, position] * v[position], for 4 rows and 4 vectors of the head.
     * The sums start at zero: 95% of the multiply-add rate, against 85% where they start at o.
     *
     * @param vAt address of the tile's values, {@code stride} floats a position; s [4, TILE]; o [4, stride] from oAt
     */
    static void values4x4(
            float[] s, int sAt, int from, int to, long vAt, int stride, float[] o, int oAt) {
        FloatVector a0 = FloatVector.zero(Lanes.F);
        FloatVector a1 = a0;
        FloatVector a2 = a0;
        FloatVector a3 = a0;
        FloatVector b0 = a0;
        FloatVector b1 = a0;
        FloatVector b2 = a0;
        FloatVector b3 = a0;
        FloatVector c0 = a0;
        FloatVector c1 = a0;
        FloatVector c2 = a0;
        FloatVector c3 = a0;
        FloatVector d0 = a0;
        FloatVector d1 = a0;
        FloatVector d2 = a0;
        FloatVector d3 = a0;
        for (int j = from; j < to; j++) {
            long at = vAt + (long) j * stride * Float.BYTES;
            FloatVector v0 = FloatVector.fromMemorySegment(Lanes.F, ALL, at, LE);
            FloatVector v1 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 4L * L, LE);
            FloatVector v2 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 8L * L, LE);
            FloatVector v3 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 12L * L, LE);
            FloatVector p = FloatVector.broadcast(Lanes.F, s[sAt + j]);
            a0 = v0.fma(p, a0);
            a1 = v1.fma(p, a1);
            a2 = v2.fma(p, a2);
            a3 = v3.fma(p, a3);
            p = FloatVector.broadcast(Lanes.F, s[sAt + TILE + j]);
            b0 = v0.fma(p, b0);
            b1 = v1.fma(p, b1);
            b2 = v2.fma(p, b2);
            b3 = v3.fma(p, b3);
            p = FloatVector.broadcast(Lanes.F, s[sAt + 2 * TILE + j]);
            c0 = v0.fma(p, c0);
            c1 = v1.fma(p, c1);
            c2 = v2.fma(p, c2);
            c3 = v3.fma(p, c3);
            p = FloatVector.broadcast(Lanes.F, s[sAt + 3 * TILE + j]);
            d0 = v0.fma(p, d0);
            d1 = v1.fma(p, d1);
            d2 = v2.fma(p, d2);
            d3 = v3.fma(p, d3);
        }
        a0.add(FloatVector.fromArray(Lanes.F, o, oAt)).intoArray(o, oAt);
        a1.add(FloatVector.fromArray(Lanes.F, o, oAt + L)).intoArray(o, oAt + L);
        a2.add(FloatVector.fromArray(Lanes.F, o, oAt + 2 * L)).intoArray(o, oAt + 2 * L);
        a3.add(FloatVector.fromArray(Lanes.F, o, oAt + 3 * L)).intoArray(o, oAt + 3 * L);
        b0.add(FloatVector.fromArray(Lanes.F, o, oAt + stride)).intoArray(o, oAt + stride);
        b1.add(FloatVector.fromArray(Lanes.F, o, oAt + stride + L)).intoArray(o, oAt + stride + L);
        b2.add(FloatVector.fromArray(Lanes.F, o, oAt + stride + 2 * L)).intoArray(o, oAt + stride + 2 * L);
        b3.add(FloatVector.fromArray(Lanes.F, o, oAt + stride + 3 * L)).intoArray(o, oAt + stride + 3 * L);
        c0.add(FloatVector.fromArray(Lanes.F, o, oAt + 2 * stride)).intoArray(o, oAt + 2 * stride);
        c1.add(FloatVector.fromArray(Lanes.F, o, oAt + 2 * stride + L)).intoArray(o, oAt + 2 * stride + L);
        c2.add(FloatVector.fromArray(Lanes.F, o, oAt + 2 * stride + 2 * L)).intoArray(o, oAt + 2 * stride + 2 * L);
        c3.add(FloatVector.fromArray(Lanes.F, o, oAt + 2 * stride + 3 * L)).intoArray(o, oAt + 2 * stride + 3 * L);
        d0.add(FloatVector.fromArray(Lanes.F, o, oAt + 3 * stride)).intoArray(o, oAt + 3 * stride);
        d1.add(FloatVector.fromArray(Lanes.F, o, oAt + 3 * stride + L)).intoArray(o, oAt + 3 * stride + L);
        d2.add(FloatVector.fromArray(Lanes.F, o, oAt + 3 * stride + 2 * L)).intoArray(o, oAt + 3 * stride + 2 * L);
        d3.add(FloatVector.fromArray(Lanes.F, o, oAt + 3 * stride + 3 * L)).intoArray(o, oAt + 3 * stride + 3 * L);
    }

    /** The same for 4 rows and one vector of the head. */
    static void values4x1(
            float[] s, int sAt, int from, int to, long vAt, int stride, float[] o, int oAt) {
        FloatVector a = FloatVector.fromArray(Lanes.F, o, oAt);
        FloatVector b = FloatVector.fromArray(Lanes.F, o, oAt + stride);
        FloatVector c = FloatVector.fromArray(Lanes.F, o, oAt + 2 * stride);
        FloatVector d = FloatVector.fromArray(Lanes.F, o, oAt + 3 * stride);
        for (int j = from; j < to; j++) {
            FloatVector x = FloatVector.fromMemorySegment(Lanes.F, ALL, vAt + (long) j * stride * Float.BYTES, LE);
            a = x.fma(FloatVector.broadcast(Lanes.F, s[sAt + j]), a);
            b = x.fma(FloatVector.broadcast(Lanes.F, s[sAt + TILE + j]), b);
            c = x.fma(FloatVector.broadcast(Lanes.F, s[sAt + 2 * TILE + j]), c);
            d = x.fma(FloatVector.broadcast(Lanes.F, s[sAt + 3 * TILE + j]), d);
        }
        a.intoArray(o, oAt);
        b.intoArray(o, oAt + stride);
        c.intoArray(o, oAt + 2 * stride);
        d.intoArray(o, oAt + 3 * stride);
    }

    /** The same for one row and 4 vectors of the head; even and odd positions have sums of their own. */
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
        long row = (long) stride * Float.BYTES;
        int j = from;
        for (; j < to - 1; j += 2) {
            long at = vAt + j * row;
            FloatVector p = FloatVector.broadcast(Lanes.F, s[sAt + j]);
            FloatVector r = FloatVector.broadcast(Lanes.F, s[sAt + j + 1]);
            a0 = FloatVector.fromMemorySegment(Lanes.F, ALL, at, LE).fma(p, a0);
            a1 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 4L * L, LE).fma(p, a1);
            a2 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 8L * L, LE).fma(p, a2);
            a3 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 12L * L, LE).fma(p, a3);
            b0 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + row, LE).fma(r, b0);
            b1 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + row + 4L * L, LE).fma(r, b1);
            b2 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + row + 8L * L, LE).fma(r, b2);
            b3 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + row + 12L * L, LE).fma(r, b3);
        }
        if (j < to) {
            long at = vAt + j * row;
            FloatVector p = FloatVector.broadcast(Lanes.F, s[sAt + j]);
            a0 = FloatVector.fromMemorySegment(Lanes.F, ALL, at, LE).fma(p, a0);
            a1 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 4L * L, LE).fma(p, a1);
            a2 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 8L * L, LE).fma(p, a2);
            a3 = FloatVector.fromMemorySegment(Lanes.F, ALL, at + 12L * L, LE).fma(p, a3);
        }
        a0.add(b0).intoArray(o, oAt);
        a1.add(b1).intoArray(o, oAt + L);
        a2.add(b2).intoArray(o, oAt + 2 * L);
        a3.add(b3).intoArray(o, oAt + 3 * L);
    }

    /** The same for one row and one vector of the head. */
    static void values1x1(
            float[] s, int sAt, int from, int to, long vAt, int stride, float[] o, int oAt) {
        FloatVector a = FloatVector.fromArray(Lanes.F, o, oAt);
        for (int j = from; j < to; j++) {
            a = FloatVector.fromMemorySegment(Lanes.F, ALL, vAt + (long) j * stride * Float.BYTES, LE)
                    .fma(FloatVector.broadcast(Lanes.F, s[sAt + j]), a);
        }
        a.intoArray(o, oAt);
    }

    /** x = x * factor, {@code n} floats, whole vectors. */
    static void scale(float[] x, int at, int n, float factor) {
        for (int i = 0; i < n; i += L) {
            FloatVector.fromArray(Lanes.F, x, at + i).mul(factor).intoArray(x, at + i);
        }
    }
}
