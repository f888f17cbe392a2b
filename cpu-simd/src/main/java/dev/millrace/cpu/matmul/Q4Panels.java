package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ADDRESS;
import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.F;
import static dev.millrace.cpu.matmul.Panel.F_BYTES;
import static dev.millrace.cpu.matmul.Panel.LANES;
import static dev.millrace.cpu.matmul.Panel.LE;
import static dev.millrace.cpu.matmul.Panel.ROWS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.S2I;

import dev.millrace.cpu.Lanes;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Q4_0 weights, (n - 8) d with a half-float d for 32 columns of a row, and the same part of Q4_1 weights, times activations
 * in 8 bits. A panel is a run for every {@link #RUN} blocks of 32 columns: first each block's four times an int of eight nibbles for each row,
 * then each block's scales of the rows, which is the order in which they are read: the core reads ahead well only where every cache line
 * follows the one before it. {@link NibbleFactors} says how the product works.
 */
final class Q4Panels implements PanelKernels {
    static final Q4Panels Q4_0 = new Q4Panels(18);
    static final Q4Panels Q4_1 = new Q4Panels(20);

    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final VectorSpecies<Short> H = Lanes.HALF_S;
    private static final int HALF_BITS = Halves.BITS;
    /** Blocks of 32 columns whose nibbles lie together, before their scales. */
    static final int RUN = 8;

    /** Bytes of a block's scales, of one of its ints, and of its four ints for all rows. */
    static final int SCALES = 2 * ROWS;

    static final int INTS = 4 * ROWS;
    static final int NIBBLES = 4 * INTS;

    /** Bytes of a block. */
    static final int BLOCK = NIBBLES + SCALES;

    /** Bytes of the checkpoint's block: the scale, for Q4_1 the least value, and 16 bytes of nibbles. */
    private final int sourceBlock;

    private Q4Panels(int sourceBlock) {
        this.sourceBlock = sourceBlock;
    }

    @Override
    public long panelBytes(int inputs) {
        return Halves.HEADER + (long) BLOCK * (inputs / 32);
    }

    @Override
    public void pack(MemorySegment source, int inputs, long target) {
        int blocks = inputs / 32;
        int most = Packing.largestHalf(source, (long) ROWS * blocks * sourceBlock, sourceBlock);
        boolean scaled = Halves.header(target, most);
        for (int g = 0; g < blocks; g++) {
            int first = g - g % RUN;
            long run = target + Halves.HEADER + (long) BLOCK * first;
            long ints = run + (long) NIBBLES * (g - first);
            long scales = scales(run, Math.min(RUN, blocks - first)) + (long) SCALES * (g - first);
            for (int r = 0; r < ROWS; r++) {
                long in = ((long) r * blocks + g) * sourceBlock;
                short scale = source.get(JAVA_SHORT_UNALIGNED, in);
                ALL.set(JAVA_SHORT_UNALIGNED, scales + 2 * r, scaled ? Halves.scaled(scale) : scale);
                for (int j = 0; j < 4; j++) {
                    int nibbles = lanes(source.get(JAVA_INT_UNALIGNED, in + sourceBlock - 16 + 4 * j));
                    ALL.set(JAVA_INT_UNALIGNED, ints + j * INTS + 4 * r, nibbles);
                }
            }
        }
    }

    /** Address of the scales of a run of {@code n} blocks. */
    static long scales(long run, int n) {
        return run + (long) NIBBLES * n;
    }

    /**
     * What {@link #pack} leaves out of Q4_1's n d + m = (n - 8) d + (m + 8 d): the last term, which multiplies the sum of
     * the block's activations, as a panel of {@link F32Panels} with a column for every 32.
     */
    static void packOffsets(MemorySegment source, int inputs, long target) {
        int blocks = inputs / 32;
        for (int g = 0; g < blocks; g++) {
            for (int r = 0; r < ROWS; r++) {
                long in = ((long) r * blocks + g) * Q4_1.sourceBlock;
                float scale = Float.float16ToFloat(source.get(JAVA_SHORT_UNALIGNED, in));
                float least = Float.float16ToFloat(source.get(JAVA_SHORT_UNALIGNED, in + 2));
                ALL.set(JAVA_FLOAT_UNALIGNED, target + 4L * (g * ROWS + r), Math.fma(8, scale, least));
            }
        }
    }

    /** From ggml's order, where nibble 2u is column u of four and 2u + 1 is column 16 + u, to that of {@link NibbleFactors}. */
    private static int lanes(int nibbles) {
        return Integer.compress(nibbles, 0x0F0F0F0F) | Integer.compress(nibbles, 0xF0F0F0F0) << 16;
    }

    @Override
    public Form form() {
        return Form.NIBBLES;
    }

    /**
     * Copies the factors and, behind them, the corrections of a single token to address {@code target}, where {@link #dot}
     * reads them: a heap array's index would be checked for every factor, and with its base and length there are more numbers
     * than registers.
     */
    static void copyFactors(NibbleFactors x, int groups, long target) {
        MemorySegment.copy(x.factors, 0, ALL, JAVA_INT, target, 16 * groups);
        MemorySegment.copy(x.corrections, 0, ALL, JAVA_INT, target + 64L * groups, groups);
    }

    /** Bytes of {@link #copyFactors}, whole cache lines. */
    static long factorBytes(int groups) {
        return Math.ceilDiv(68L * groups, 64) * 64;
    }

    /**
     * The sums of one token, run by run, in two steps as in {@link NibbleKernel}.
     *
     * @param factors address of what {@link #copyFactors} wrote
     * @param scratch address of {@link NibbleKernel#SCRATCH} bytes
     */
    static void dot(long panel, int groups, NibbleFactors x, long factors, float[] y, long scratch) {
        for (int g = 0; g < groups; g += RUN) {
            int n = Math.min(RUN, groups - g);
            long run = panel + Halves.HEADER + (long) BLOCK * g;
            integers(run, n, factors + 64L * g, factors + 64L * groups + 4L * g, scratch);
            add(scales(run, n), scratch, n, x.scales, g, y, g == 0);
        }
        float factor = Halves.factor(panel) / NibbleFactors.SCALE;
        for (int r = 0; r < ROWS; r++) {
            y[r] *= factor;
        }
    }

    /**
     * Sums of a run of {@code n} blocks modulo 2^16: [block][row] pairs, to be added up. Every instruction beside the arithmetic takes
     * room in the window in which the core looks ahead for the next cache lines: so all addresses are masked, which needs no
     * check, and loops end at an address, not before one, which C2 leaves as they are. Unrolled, the inner one's 32 products
     * and their factors do not fit the registers.
     */
    private static void integers(long run, int n, long factors, long corrections, long out) {
        long o = run;
        long f = factors;
        long c = corrections;
        long r = out;
        for (long end = run + (long) NIBBLES * n; o != end; c += 4, r += 2 * F_BYTES) {
            ShortVector s = IntVector.broadcast(I, ALL.get(JAVA_INT_UNALIGNED, c & ADDRESS)).reinterpretAsShorts();
            ShortVector t = s;
            for (long last = o + NIBBLES; o != last; o += INTS, f += 16) {
                ShortVector f0 = IntVector.broadcast(I, ALL.get(JAVA_INT_UNALIGNED, f & ADDRESS)).reinterpretAsShorts();
                ShortVector f1 = IntVector.broadcast(I, ALL.get(JAVA_INT_UNALIGNED, (f & ADDRESS) + 4)).reinterpretAsShorts();
                ShortVector f2 = IntVector.broadcast(I, ALL.get(JAVA_INT_UNALIGNED, (f & ADDRESS) + 8)).reinterpretAsShorts();
                ShortVector f3 = IntVector.broadcast(I, ALL.get(JAVA_INT_UNALIGNED, (f & ADDRESS) + 12)).reinterpretAsShorts();
                IntVector v = IntVector.fromMemorySegment(I, ALL, o & ADDRESS, LE);
                IntVector w = IntVector.fromMemorySegment(I, ALL, (o & ADDRESS) + F_BYTES, LE);
                s = s.add(v.reinterpretAsShorts().mul(f0));
                s = s.add(v.lanewise(LSHR, 4).reinterpretAsShorts().mul(f1));
                s = s.add(v.lanewise(LSHR, 8).reinterpretAsShorts().mul(f2));
                s = s.add(v.lanewise(LSHR, 12).reinterpretAsShorts().mul(f3));
                t = t.add(w.reinterpretAsShorts().mul(f0));
                t = t.add(w.lanewise(LSHR, 4).reinterpretAsShorts().mul(f1));
                t = t.add(w.lanewise(LSHR, 8).reinterpretAsShorts().mul(f2));
                t = t.add(w.lanewise(LSHR, 12).reinterpretAsShorts().mul(f3));
            }
            s.intoMemorySegment(ALL, r & ADDRESS, LE);
            t.intoMemorySegment(ALL, (r & ADDRESS) + F_BYTES, LE);
        }
    }

    /** Adds the sums of {@code n} blocks, times the rows' scales, to {@code y}; {@code first} starts at zero. */
    private static void add(long rows, long in, int n, float[] scales, int at, float[] y, boolean first) {
        FloatVector a = FloatVector.zero(F), b = a;
        if (!first) {
            a = FloatVector.fromArray(F, y, 0);
            b = FloatVector.fromArray(F, y, LANES);
        }
        int g = at;
        for (long q = in, r = rows, end = in + 2L * F_BYTES * n; q < end; q += 2 * F_BYTES, r += SCALES) {
            FloatVector scale = FloatVector.broadcast(F, scales[g++]);
            FloatVector d = ((IntVector) ShortVector.fromMemorySegment(H, ALL, r & ADDRESS, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(HALF_BITS)
                    .reinterpretAsFloats();
            FloatVector e = ((IntVector) ShortVector.fromMemorySegment(H, ALL, (r & ADDRESS) + 2 * LANES, LE).convertShape(S2I, I, 0))
                    .lanewise(LSHL, 13)
                    .and(HALF_BITS)
                    .reinterpretAsFloats();
            IntVector i = IntVector.fromMemorySegment(I, ALL, q & ADDRESS, LE);
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            a = ((FloatVector) i.convertShape(I2F, F, 0)).fma(d.mul(scale), a);
            i = IntVector.fromMemorySegment(I, ALL, (q & ADDRESS) + F_BYTES, LE);
            i = i.add(i.lanewise(LSHL, 16)).lanewise(ASHR, 16);
            b = ((FloatVector) i.convertShape(I2F, F, 0)).fma(e.mul(scale), b);
        }
        a.intoArray(y, 0);
        b.intoArray(y, LANES);
    }
}
