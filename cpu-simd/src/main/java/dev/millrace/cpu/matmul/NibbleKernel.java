package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ADDRESS;
import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.F;
import static dev.millrace.cpu.matmul.Panel.F_BYTES;
import static dev.millrace.cpu.matmul.Panel.LANES;
import static dev.millrace.cpu.matmul.Panel.LE;
import static dev.millrace.cpu.matmul.Panel.ROWS;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.S2I;

import dev.millrace.cpu.Lanes;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The product of {@link Q4Panels} with several tokens: four at a time, so that each weight is shifted once for four
 * products. It goes by runs of blocks of 32 columns, first their sums in 16 bits ({@link #integers}, of more tokens
 * {@link UnpackedNibbles}), then their
 * scales ({@link #add}): as one method it is more than the JIT inlines by itself, and what it made of the rest depended on
 * what else had run in the process ({@code KernelShapeTest}).
 */
final class NibbleKernel {
    static final int TOKENS = NibbleFactors.TOKENS;

    /** Bytes of the scales of a run of blocks as floats. */
    private static final int SCALES = Q4Panels.RUN * 2 * F_BYTES;

    /** Bytes of work space of a run of blocks: scales of a panel, the unpacked panel, and sums for four tokens. */
    static final int SCRATCH = SCALES + UnpackedNibbles.BYTES + Q4Panels.RUN * 2 * TOKENS * F_BYTES;

    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final VectorSpecies<Short> H = Lanes.HALF_S;
    private static final VectorSpecies<Short> S = Lanes.S;
    private static final int HALF_BITS = Halves.BITS;
    private static final int SUMS = 2 * TOKENS * F_BYTES;

    private NibbleKernel() {}

    /**
     * Sums of {@code panels} panels, at most {@link Activations#PANELS}, {@code bytes} apart: [panel][token][row of the panel].
     * A run of a panel is multiplied with all tokens while it is in the nearest cache, and their factors with all panels while they are
     * in the core's own.
     *
     * @param scratch address of {@link #SCRATCH} bytes
     */
    static void multiply(
            long panel, long bytes, int panels, int groups, NibbleFactors x, int tokens, float[][] sums, long scratch) {
        long unpacked = scratch + SCALES;
        long results = unpacked + UnpackedNibbles.BYTES;
        boolean few = tokens <= NibbleFactors.FEW;
        for (int g = 0; g < groups; g += Q4Panels.RUN) {
            int n = Math.min(Q4Panels.RUN, groups - g);
            for (int p = 0; p < panels; p++) {
                long run = panel + p * bytes + Halves.HEADER + (long) Q4Panels.BLOCK * g;
                scales(Q4Panels.scales(run, n), n, Halves.factor(panel + p * bytes) / NibbleFactors.SCALE, scratch);
                if (!few) {
                    UnpackedNibbles.unpack(run, n, unpacked);
                }
                for (int b = 0; b * TOKENS < tokens; b++) {
                    int at = NibbleFactors.index(b * TOKENS, tokens, g, groups);
                    if (few) {
                        integers(run, n, x.factors, x.corrections, at, results);
                    } else {
                        UnpackedNibbles.integers(unpacked, n, x.factors, x.corrections, at, results);
                    }
                    for (int t = 0; t < TOKENS; t += 2) {
                        add(scratch, results + 2L * t * F_BYTES, n, x.scales, at + t, sums[p], (b * TOKENS + t) * ROWS, g == 0);
                    }
                }
            }
        }
    }

    /** The rows' scales of {@code n} blocks, times {@code factor}: [block][row] floats. */
    private static void scales(long rows, int n, float factor, long out) {
        for (long o = rows, end = rows + (long) Q4Panels.SCALES * n; o < end; o += Q4Panels.SCALES, out += 2 * F_BYTES) {
            for (int r = 0; r < 2; r++) {
                ((IntVector) ShortVector.fromMemorySegment(H, ALL, o + 2L * LANES * r, LE).convertShape(S2I, I, 0))
                        .lanewise(LSHL, 13)
                        .and(HALF_BITS)
                        .reinterpretAsFloats()
                        .mul(factor)
                        .intoMemorySegment(ALL, out + (long) F_BYTES * r, LE);
            }
        }
    }

    /** Sums of a run of {@code n} blocks for four tokens modulo 2^16: [block][token][row] pairs, to be added up. */
    private static void integers(long run, int n, int[] factors, int[] corrections, int at, long out) {
        int c = at;
        int f = 16 * at;
        for (long o = run, end = run + (long) Q4Panels.NIBBLES * n; o < end; o += Q4Panels.NIBBLES, c += TOKENS, out += SUMS) {
            ShortVector s0 = IntVector.broadcast(I, corrections[c]).reinterpretAsShorts(), t0 = s0;
            ShortVector s1 = IntVector.broadcast(I, corrections[c + 1]).reinterpretAsShorts(), t1 = s1;
            ShortVector s2 = IntVector.broadcast(I, corrections[c + 2]).reinterpretAsShorts(), t2 = s2;
            ShortVector s3 = IntVector.broadcast(I, corrections[c + 3]).reinterpretAsShorts(), t3 = s3;
            for (long q = o, last = o + Q4Panels.NIBBLES; q < last; q += Q4Panels.INTS) {
                IntVector v = IntVector.fromMemorySegment(I, ALL, q & ADDRESS, LE);
                IntVector w = IntVector.fromMemorySegment(I, ALL, (q & ADDRESS) + F_BYTES, LE);
                for (int i = 0; i < 4; i++, f++) {
                    ShortVector a = v.reinterpretAsShorts();
                    ShortVector b = w.reinterpretAsShorts();
                    ShortVector x = IntVector.broadcast(I, factors[f]).reinterpretAsShorts();
                    s0 = s0.add(a.mul(x));
                    t0 = t0.add(b.mul(x));
                    x = IntVector.broadcast(I, factors[f + 16]).reinterpretAsShorts();
                    s1 = s1.add(a.mul(x));
                    t1 = t1.add(b.mul(x));
                    x = IntVector.broadcast(I, factors[f + 32]).reinterpretAsShorts();
                    s2 = s2.add(a.mul(x));
                    t2 = t2.add(b.mul(x));
                    x = IntVector.broadcast(I, factors[f + 48]).reinterpretAsShorts();
                    s3 = s3.add(a.mul(x));
                    t3 = t3.add(b.mul(x));
                    v = v.lanewise(LSHR, 4);
                    w = w.lanewise(LSHR, 4);
                }
            }
            f += 48;
            s0.intoMemorySegment(ALL, out & ADDRESS, LE);
            t0.intoMemorySegment(ALL, (out & ADDRESS) + F_BYTES, LE);
            s1.intoMemorySegment(ALL, (out & ADDRESS) + 2 * F_BYTES, LE);
            t1.intoMemorySegment(ALL, (out & ADDRESS) + 3 * F_BYTES, LE);
            s2.intoMemorySegment(ALL, (out & ADDRESS) + 4 * F_BYTES, LE);
            t2.intoMemorySegment(ALL, (out & ADDRESS) + 5 * F_BYTES, LE);
            s3.intoMemorySegment(ALL, (out & ADDRESS) + 6 * F_BYTES, LE);
            t3.intoMemorySegment(ALL, (out & ADDRESS) + 7 * F_BYTES, LE);
        }
    }

    /** Adds the sums of {@code n} blocks for two tokens, scaled, to {@code y}; {@code first} starts at zero. */
    private static void add(long scale, long in, int n, float[] scales, int at, float[] y, int yAt, boolean first) {
        FloatVector a = FloatVector.zero(F), b = a, c = a, d = a;
        if (!first) {
            a = FloatVector.fromArray(F, y, yAt);
            b = FloatVector.fromArray(F, y, yAt + LANES);
            c = FloatVector.fromArray(F, y, yAt + ROWS);
            d = FloatVector.fromArray(F, y, yAt + ROWS + LANES);
        }
        int s = at;
        long r = scale;
        for (long q = in, end = in + (long) SUMS * n; q < end; q += SUMS, r += 2 * F_BYTES, s += TOKENS) {
            FloatVector d0 = FloatVector.fromMemorySegment(F, ALL, r & ADDRESS, LE);
            FloatVector d1 = FloatVector.fromMemorySegment(F, ALL, (r & ADDRESS) + F_BYTES, LE);
            FloatVector e = FloatVector.broadcast(F, scales[s]);
            IntVector i = IntVector.fromMemorySegment(I, ALL, q & ADDRESS, LE);
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            a = ((FloatVector) i.convertShape(I2F, F, 0)).fma(d0.mul(e), a);
            i = IntVector.fromMemorySegment(I, ALL, (q & ADDRESS) + F_BYTES, LE);
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            b = ((FloatVector) i.convertShape(I2F, F, 0)).fma(d1.mul(e), b);
            e = FloatVector.broadcast(F, scales[s + 1]);
            i = IntVector.fromMemorySegment(I, ALL, (q & ADDRESS) + 2 * F_BYTES, LE);
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            c = ((FloatVector) i.convertShape(I2F, F, 0)).fma(d0.mul(e), c);
            i = IntVector.fromMemorySegment(I, ALL, (q & ADDRESS) + 3 * F_BYTES, LE);
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            d = ((FloatVector) i.convertShape(I2F, F, 0)).fma(d1.mul(e), d);
        }
        a.intoArray(y, yAt);
        b.intoArray(y, yAt + LANES);
        c.intoArray(y, yAt + ROWS);
        d.intoArray(y, yAt + ROWS + LANES);
    }
}
