package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ADDRESS;
import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.F_BYTES;
import static dev.millrace.cpu.matmul.Panel.LE;
import static jdk.incubator.vector.VectorOperators.LSHR;

import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The integer part of {@link NibbleKernel} for many tokens: the same sums modulo 2^16 with half as many multiplications, which
 * go to two of a core's four vector units, where additions go to any.
 *
 * <p>Winograd's inner product (see {@link WinogradKernel}) is exact modulo 2^16: v0 x0 + v1 x1 = (v0 + x1)(v1 + x0) - v0 v1 -
 * x0 x1 in each half of a lane, v0 and v1 being an int of nibbles at two shifts that follow each other. What it has too much
 * are sums of the weights and of the factors alone: {@link #unpack} computes the first for all tokens, {@link NibbleFactors#corrections}
 * holds the second for all rows. Weights are shifted once for all tokens too, and then are loaded without shifting.
 */
final class UnpackedNibbles {
    /** Bytes of the weights of a block: [int][shifts by 0 and 4, by 8 and 12][shift][row]. */
    private static final int WEIGHTS = 32 * F_BYTES;

    /** Bytes of the sums of the products of a block's weights. */
    private static final int PRODUCTS = 2 * F_BYTES;

    /** Bytes of a run of blocks: 17 KiB, which stay in the nearest cache. */
    static final int BYTES = Q4Panels.RUN * (WEIGHTS + PRODUCTS);

    private static final int SUMS = 2 * NibbleKernel.TOKENS * F_BYTES;

    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final VectorSpecies<Short> S = Lanes.S;

    private UnpackedNibbles() {}

    /** Lays out a panel's run of {@code n} blocks in {@link #BYTES} bytes from {@code target}. */
    static void unpack(long run, int n, long target) {
        long out = target;
        long products = target + Q4Panels.RUN * WEIGHTS;
        for (long o = run, end = run + (long) Q4Panels.NIBBLES * n; o < end; o += Q4Panels.NIBBLES, out += WEIGHTS) {
            for (int r = 0; r < 2; r++, products += F_BYTES) {
                ShortVector sum = ShortVector.zero(S);
                for (int j = 0; j < 4; j++) {
                    long to = out + F_BYTES * (8L * j + r) & ADDRESS;
                    IntVector v = IntVector.fromMemorySegment(I, ALL, o + F_BYTES * (2L * j + r) & ADDRESS, LE);
                    IntVector w = v.lanewise(LSHR, 4);
                    v.intoMemorySegment(ALL, to, LE);
                    w.intoMemorySegment(ALL, to + 2 * F_BYTES, LE);
                    sum = sum.add(v.reinterpretAsShorts().mul(w.reinterpretAsShorts()));
                    v = v.lanewise(LSHR, 8);
                    w = w.lanewise(LSHR, 8);
                    v.intoMemorySegment(ALL, to + 4 * F_BYTES, LE);
                    w.intoMemorySegment(ALL, to + 6 * F_BYTES, LE);
                    sum = sum.add(v.reinterpretAsShorts().mul(w.reinterpretAsShorts()));
                }
                sum.intoMemorySegment(ALL, products & ADDRESS, LE);
            }
        }
    }

    /**
     * Sums of {@code n} blocks for four tokens modulo 2^16: [block][token][row] pairs, to be added up. The least and the greatest
     * index come first, which spares the others their range checks.
     *
     * @param panel where {@link #unpack} has laid them out
     * @param at where the first block's first token is in {@link NibbleFactors#corrections}
     */
    static void integers(long panel, int n, int[] factors, int[] corrections, int at, long out) {
        int h = at;
        int f = 16 * at;
        long products = panel + Q4Panels.RUN * WEIGHTS;
        for (long o = panel, end = panel + (long) WEIGHTS * n; o < end; o += WEIGHTS, products += PRODUCTS, h += 4, out += SUMS) {
            ShortVector a = ShortVector.fromMemorySegment(S, ALL, products & ADDRESS, LE);
            ShortVector b = ShortVector.fromMemorySegment(S, ALL, (products & ADDRESS) + F_BYTES, LE);
            ShortVector s0 = IntVector.broadcast(I, corrections[h]).reinterpretAsShorts(), t0 = s0.sub(b);
            ShortVector s1 = IntVector.broadcast(I, corrections[h + 1]).reinterpretAsShorts(), t1 = s1.sub(b);
            ShortVector s2 = IntVector.broadcast(I, corrections[h + 2]).reinterpretAsShorts(), t2 = s2.sub(b);
            ShortVector s3 = IntVector.broadcast(I, corrections[h + 3]).reinterpretAsShorts(), t3 = s3.sub(b);
            s0 = s0.sub(a);
            s1 = s1.sub(a);
            s2 = s2.sub(a);
            s3 = s3.sub(a);
            for (long q = o, last = o + WEIGHTS; q < last; q += 4 * F_BYTES, f += 2) {
                a = ShortVector.fromMemorySegment(S, ALL, q & ADDRESS, LE);
                b = ShortVector.fromMemorySegment(S, ALL, (q & ADDRESS) + F_BYTES, LE);
                ShortVector c = ShortVector.fromMemorySegment(S, ALL, (q & ADDRESS) + 2 * F_BYTES, LE);
                ShortVector d = ShortVector.fromMemorySegment(S, ALL, (q & ADDRESS) + 3 * F_BYTES, LE);
                ShortVector x = IntVector.broadcast(I, factors[f]).reinterpretAsShorts();
                ShortVector z = IntVector.broadcast(I, factors[f + 49]).reinterpretAsShorts();
                ShortVector y = IntVector.broadcast(I, factors[f + 1]).reinterpretAsShorts();
                s0 = s0.add(a.add(y).mul(c.add(x)));
                t0 = t0.add(b.add(y).mul(d.add(x)));
                x = IntVector.broadcast(I, factors[f + 48]).reinterpretAsShorts();
                s3 = s3.add(a.add(z).mul(c.add(x)));
                t3 = t3.add(b.add(z).mul(d.add(x)));
                x = IntVector.broadcast(I, factors[f + 16]).reinterpretAsShorts();
                y = IntVector.broadcast(I, factors[f + 17]).reinterpretAsShorts();
                s1 = s1.add(a.add(y).mul(c.add(x)));
                t1 = t1.add(b.add(y).mul(d.add(x)));
                x = IntVector.broadcast(I, factors[f + 32]).reinterpretAsShorts();
                y = IntVector.broadcast(I, factors[f + 33]).reinterpretAsShorts();
                s2 = s2.add(a.add(y).mul(c.add(x)));
                t2 = t2.add(b.add(y).mul(d.add(x)));
            }
            f += 48;
            long to = out & ADDRESS;
            s0.intoMemorySegment(ALL, to, LE);
            t0.intoMemorySegment(ALL, to + F_BYTES, LE);
            s1.intoMemorySegment(ALL, to + 2 * F_BYTES, LE);
            t1.intoMemorySegment(ALL, to + 3 * F_BYTES, LE);
            s2.intoMemorySegment(ALL, to + 4 * F_BYTES, LE);
            t2.intoMemorySegment(ALL, to + 5 * F_BYTES, LE);
            s3.intoMemorySegment(ALL, to + 6 * F_BYTES, LE);
            t3.intoMemorySegment(ALL, to + 7 * F_BYTES, LE);
        }
    }
}
