package dev.millrace.cpu.matmul;

import dev.millrace.cpu.Lanes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Products for the first moments of a process. Until the JIT has compiled the vector kernels each vector operation is an
 * interpreted call that allocates, some thousand times slower than it will be: the first token of a model of 17 MB took
 * 1.2 s. Plain loops over arrays are fast within milliseconds. So while a background thread runs a format's kernels on
 * work of its own until they are fast, products of that format are computed here, with the same operations in the same
 * order: a result does not tell which way it was computed.
 *
 * <p>{@code -Dmillrace.cpu.coldstart=false} leaves it out: what verifies or measures kernels must get the kernels. The
 * launcher gives it to the commands that do, the build to the tests.
 */
final class ColdStart {
    /** Slower than any compiled kernel, a hundred times faster than an interpreted one. */
    private static final double COMPILED_NANOS_PER_COLUMN = 30;

    private static final int INPUTS = 256;
    private static final int CALLS = 16;
    /** Fast this many times in a row. */
    private static final int STEADY = 3;

    private static final long PATIENCE_NANOS = 10_000_000_000L;

    private static final Map<PanelKernels, ColdStart> STARTS = new ConcurrentHashMap<>();

    private final PanelKernels kernels;
    private volatile boolean compiled;

    private static final boolean ENABLED = Boolean.parseBoolean(System.getProperty("millrace.cpu.coldstart", "true"));

    private ColdStart(PanelKernels kernels) {
        this.kernels = kernels;
        Thread thread = new Thread(this::warmUp, "cpu-simd warm-up");
        thread.setDaemon(true);
        thread.start();
    }

    /** The start of a format's kernels; null where it is left out, or there is no other way to compute the same. */
    static ColdStart wanted(PanelKernels kernels) {
        return ENABLED ? of(kernels) : null;
    }

    /** The start of a format's kernels; null where there is no other way to compute the same. */
    static ColdStart of(PanelKernels kernels) {
        return switch (kernels) {
            case F32Panels f -> STARTS.computeIfAbsent(kernels, ColdStart::new);
            case F16Panels f -> STARTS.computeIfAbsent(kernels, ColdStart::new);
            case Bf16Panels f -> STARTS.computeIfAbsent(kernels, ColdStart::new);
            default -> null;
        };
    }

    /** Whether the kernels are compiled. */
    boolean over() {
        return compiled;
    }

    /** The sums of one panel for all tokens of {@code x}, as {@link PanelKernels#gemv} and {@link Microkernel} give them. */
    static void sums(PanelKernels kernels, long panel, int inputs, Activations x, float[] sums) {
        float[] weights = floats(kernels, panel, inputs);
        for (int t = 0; t < x.tokens; t++) {
            product(weights, inputs, x.rows.data(), x.rows.at(t), sums, t * Panel.ROWS);
        }
    }

    private static void product(float[] weights, int inputs, float[] x, int xAt, float[] sums, int at) {
        for (int r = 0; r < Panel.ROWS; r++) {
            sums[at + r] = 0;
        }
        for (int k = 0; k < inputs; k++) {
            float xk = x[xAt + k];
            int w = k * Panel.ROWS;
            for (int r = 0; r < Panel.ROWS; r++) {
                sums[at + r] = Math.fma(weights[w + r], xk, sums[at + r]);
            }
        }
    }

    private static float[] floats(PanelKernels kernels, long panel, int inputs) {
        float[] floats = new float[inputs * Panel.ROWS];
        switch (kernels) {
            case F32Panels f -> MemorySegment.copy(Panel.ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, panel, floats, 0, floats.length);
            case F16Panels f -> {
                float factor = Halves.factor(panel);
                short[] halves = shorts(panel + Halves.HEADER, floats.length);
                for (int i = 0; i < floats.length; i++) {
                    floats[i] = Float.intBitsToFloat(halves[i] << 13 & Halves.BITS) * factor;
                }
            }
            case Bf16Panels f -> {
                short[] tops = shorts(panel, floats.length);
                for (int i = 0; i < floats.length; i++) {
                    floats[i] = Float.intBitsToFloat(tops[i] << 16);
                }
            }
            default -> throw new IllegalArgumentException("no cold path for " + kernels);
        }
        return floats;
    }

    private static short[] shorts(long address, int count) {
        short[] shorts = new short[count];
        MemorySegment.copy(Panel.ALL, ValueLayout.JAVA_SHORT_UNALIGNED, address, shorts, 0, count);
        return shorts;
    }

    private void warmUp() {
        long start = System.nanoTime();
        try (Arena arena = Arena.ofConfined();
                Activations x = new Activations(Microkernel.TOKENS, INPUTS, 1)) {
            long panel = arena.allocate(kernels.panelBytes(INPUTS), 64).address();
            float[] sums = new float[Microkernel.TOKENS * Panel.ROWS];
            x.rows = new Rows(new float[INPUTS], 0, INPUTS);
            int fast = 0;
            while (fast < STEADY && System.nanoTime() - start < PATIENCE_NANOS) {
                long before = System.nanoTime();
                for (int i = 0; i < CALLS; i++) {
                    kernels.gemv(panel, 1, INPUTS, x, sums, 0);
                    kernels.unpack(panel, 0, INPUTS, x.panel(0));
                    Microkernel.multiply(x.blocks, 0, x.panel(0), INPUTS, sums, 0, true);
                }
                double nanos = (System.nanoTime() - before) / (double) (CALLS * INPUTS);
                fast = nanos < COMPILED_NANOS_PER_COLUMN * 512 / Lanes.BITS ? fast + 1 : 0;
            }
        }
        compiled = true;
    }
}
