package dev.millrace.cpu.matmul;

import dev.millrace.cpu.ColdStart;
import dev.millrace.cpu.Lanes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.EnumSet;

/**
 * Products of panels in plain loops, for kernels that are not compiled yet ({@link ColdStart}). Operations and their
 * order are those of {@link UnpackedKernels#gemv} and {@link Microkernel}: a result does not tell which way it was computed.
 */
final class PlainProduct {
    /** Slower than any compiled kernel, a hundred times faster than an interpreted one. */
    private static final long NANOS_PER_COLUMN = 20 * 512 / Lanes.BITS;

    private static final int INPUTS = 256;
    private static final int CALLS = 16;

    /** Columns that are made floats at a time. */
    private static final int COLUMNS = 64;

    private static final Starts F32 = new Starts(F32Panels.INSTANCE);
    private static final Starts F16 = new Starts(F16Panels.INSTANCE);
    private static final Starts BF16 = new Starts(Bf16Panels.INSTANCE);

    /** What lies around products of many tokens: {@link Turn} and {@link Outputs}. */
    static final ColdStart AROUND = new ColdStart(20_000 * CALLS, PlainProduct::warmUpAround);

    /** The kernels of a format, which are compiled apart: whoever decodes first need not wait for those of prompts. */
    record Starts(ColdStart oneToken, ColdStart manyTokens) {
        Starts(UnpackedKernels kernels) {
            this(
                    new ColdStart(NANOS_PER_COLUMN * CALLS * INPUTS, () -> warmUp(kernels, 1)),
                    new ColdStart(NANOS_PER_COLUMN * CALLS * INPUTS, () -> warmUp(kernels, Microkernel.TOKENS)));
        }

        /** Whether the kernels that a product of so many tokens takes are cold. */
        boolean cold(int tokens, int inputs) {
            return (tokens == 1 ? oneToken : manyTokens).cold((long) tokens * inputs * Panel.ROWS);
        }
    }

    private PlainProduct() {}

    /** The starts of a format's kernels; null where there is no plain product of the format. */
    static Starts starts(PanelKernels kernels) {
        return switch (kernels) {
            case F32Panels f -> F32;
            case F16Panels f -> F16;
            case Bf16Panels f -> BF16;
            default -> null;
        };
    }

    /** The sums of one panel for tokens [first, last) of {@code x}: [token - first][row of the panel]. */
    static void sums(
            PanelKernels kernels, long panel, int inputs, Activations x, int first, int last, float[] sums) {
        float[] weights = new float[Math.min(COLUMNS, inputs) * Panel.ROWS];
        for (int t = 0; t < last - first; t++) {
            clear(sums, t * Panel.ROWS);
        }
        for (int k = 0; k < inputs; k += COLUMNS) {
            int columns = Math.min(COLUMNS, inputs - k);
            floats(kernels, panel, k, columns, weights);
            for (int t = 0; t < last - first; t++) {
                add(weights, columns, x.rows.data(), x.rows.at(first + t) + k, sums, t * Panel.ROWS);
            }
        }
    }

    private static void clear(float[] sums, int at) {
        for (int r = 0; r < Panel.ROWS; r++) {
            sums[at + r] = 0;
        }
    }

    private static void add(float[] weights, int columns, float[] x, int xAt, float[] sums, int at) {
        for (int k = 0; k < columns; k++) {
            add(weights, k * Panel.ROWS, x[xAt + k], sums, at);
        }
    }

    private static void add(float[] weights, int w, float x, float[] sums, int at) {
        for (int r = 0; r < Panel.ROWS; r++) {
            sums[at + r] = Math.fma(weights[w + r], x, sums[at + r]);
        }
    }

    /** Columns [from, from + columns) of a panel as floats. */
    private static void floats(PanelKernels kernels, long panel, int from, int columns, float[] floats) {
        int n = columns * Panel.ROWS;
        long start = (long) from * Panel.ROWS;
        if (kernels instanceof F32Panels) {
            MemorySegment.copy(Panel.ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, panel + 4 * start, floats, 0, n);
            return;
        }
        short[] shorts = new short[n];
        boolean halves = kernels instanceof F16Panels;
        long at = panel + 2 * start + (halves ? Halves.HEADER : 0);
        MemorySegment.copy(Panel.ALL, ValueLayout.JAVA_SHORT_UNALIGNED, at, shorts, 0, n);
        if (halves) {
            widenHalves(shorts, n, Halves.factor(panel), floats);
        } else {
            widenTops(shorts, n, floats);
        }
    }

    private static void widenHalves(short[] halves, int n, float factor, float[] floats) {
        for (int i = 0; i < n; i++) {
            floats[i] = Float.intBitsToFloat(halves[i] << 13 & Halves.BITS) * factor;
        }
    }

    private static void widenTops(short[] tops, int n, float[] floats) {
        for (int i = 0; i < n; i++) {
            floats[i] = Float.intBitsToFloat(tops[i] << 16);
        }
    }

    private static void warmUp(UnpackedKernels kernels, int tokens) {
        try (Arena arena = Arena.ofConfined();
                Activations x = new Activations(tokens, INPUTS, 1, EnumSet.of(Form.FLOATS))) {
            long panel = arena.allocate(kernels.panelBytes(INPUTS), 64).address();
            float[] sums = new float[Microkernel.TOKENS * Panel.ROWS];
            float[] block = new float[Microkernel.TOKENS * INPUTS];
            x.rows = new Rows(block, 0, INPUTS);
            x.tokens = 4;
            for (int i = 0; i < CALLS; i++) {
                if (tokens == 1) {
                    kernels.gemv(panel, INPUTS, x, 0, sums, 0);
                } else {
                    long weights = kernels.unpack(panel, 0, INPUTS, x.panel(0, 0));
                    Microkernel.multiply(block, 0, weights, INPUTS, sums, 0, true);
                    kernels.few(panel, INPUTS, x, sums);
                }
            }
        }
    }

    private static void warmUpAround() {
        float[] in = new float[Microkernel.TOKENS * INPUTS];
        float[] out = new float[in.length];
        Rows rows = new Rows(new float[in.length], 0, Panel.ROWS);
        for (int i = 0; i < CALLS; i++) {
            for (int k = 0; k < INPUTS; k += Turn.COLUMNS) {
                Turn.turn(in, k, INPUTS, out, Microkernel.TOKENS * k);
            }
            Outputs.addVectors(out, Microkernel.TOKENS, in, 0);
            Outputs.writeVectors(out, 0, Microkernel.TOKENS, null, 0, null, rows);
            Outputs.writeVectors(out, 0, Microkernel.TOKENS, in, 0, rows, rows);
        }
    }
}
