package dev.millrace.cpu.matmul;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.cpu.pool.WorkerPool;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * One weight in panels of {@link Panel#ROWS} outputs, and the sums of products with them.
 *
 * @param starts whether the JIT has compiled the kernels; null where there is nothing else to multiply with
 * @param address of the first panel; the next is {@code stride} bytes on
 * @param offsets address of the panels of Q4_1's offsets, else 0
 */
record WeightPanels(
        PanelKernels kernels, PlainProduct.Starts starts, long address, long stride, long offsets, int inputs, int rows) {
    /** Formats that can be packed. */
    static boolean supports(WeightFormat format) {
        return switch (format) {
            case F32, F16, BF16, Q8_0, Q4_0, Q4_1 -> true;
            default -> false;
        };
    }

    /** Bytes of one of a weight's panels, without offsets. */
    static long panelBytes(Weight weight) {
        return kernels(weight).panelBytes(Math.toIntExact(weight.shape().columns()));
    }

    /** Address of room for {@code bytes} bytes for each panel of a weight. */
    static long allocate(Weight weight, long bytes, WeightMemory memory) {
        return memory.allocate(Math.multiplyExact(Panel.count(Math.toIntExact(weight.shape().rows())), bytes)).address();
    }

    /** Lays out a weight in panels from {@code address}, {@code stride} apart, on all workers of the pool. */
    static WeightPanels pack(Weight weight, long address, long stride, WorkerPool pool, WeightMemory memory) {
        PanelKernels kernels = kernels(weight);
        int rows = Math.toIntExact(weight.shape().rows());
        int inputs = Math.toIntExact(weight.shape().columns());
        long offsets = kernels == Q4Panels.Q4_1 ? memory.allocate(Panel.count(rows) * offsetBytes(inputs)).address() : 0;
        WeightPanels panels = new WeightPanels(kernels, PlainProduct.starts(kernels), address, stride, offsets, inputs, rows);
        if (!ColumnPacking.pack(weight, kernels, address, stride, pool)) {
            panels.fill(weight, pool);
        }
        return panels;
    }

    private void fill(Weight weight, WorkerPool pool) {
        int count = count();
        pool.run((worker, workers) -> {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment source = arena.allocate(weight.format().rowBytes(inputs) * Panel.ROWS, 64);
                for (int p = pool.claim(worker, count); p >= 0; p = pool.claim(worker, count)) {
                    int n = Math.min(Panel.ROWS, rows - p * Panel.ROWS);
                    if (n < Panel.ROWS) {
                        source.fill((byte) 0);
                    }
                    weight.copyRows((long) p * Panel.ROWS, n, source);
                    kernels.pack(source, inputs, address + p * stride);
                    if (offsets != 0) {
                        Q4Panels.packOffsets(source, inputs, offsets + p * offsetBytes(inputs));
                    }
                }
            }
        });
    }

    /** Number of panels. */
    int count() {
        return Panel.count(rows);
    }

    /** Bytes of all panels: what one pass over them reads. */
    long bytes() {
        return count() * (kernels.panelBytes(inputs) + (offsets == 0 ? 0 : offsetBytes(inputs)));
    }

    /**
     * Sums of {@code n} panels from {@code panel} on for tokens [first, last): [panel][token - first][row of the panel]. Only
     * panels that are multiplied where they lie take a part of the tokens.
     */
    void sums(Activations x, int panel, int n, float[][] sums, int first, int last, int worker) {
        long at = address + panel * stride;
        if (kernels instanceof Q4Panels) {
            nibbles(x, at, n, offsets == 0 ? 0 : offsets + panel * offsetBytes(inputs), sums, worker);
            return;
        }
        UnpackedKernels kernels = (UnpackedKernels) this.kernels;
        boolean cold = starts != null && starts.cold(x.tokens, inputs);
        if (!cold && x.tokens > 1 && !x.few(kernels.form())) {
            many(kernels, x, at, n, sums, first, last, worker);
            return;
        }
        for (int i = 0; i < n; i++, at += stride) {
            if (cold) {
                PlainProduct.sums(kernels, at, inputs, x, first, last, sums[i]);
            } else if (x.tokens == 1) {
                kernels.gemv(at, inputs, x, 0, sums[i], 0);
            } else {
                kernels.few(at, inputs, x, sums[i]);
            }
        }
    }

    private void many(
            UnpackedKernels kernels, Activations x, long panel, int n, float[][] sums, int first, int last, int worker) {
        long[] weights = x.unpacked(worker);
        for (int k = 0; k < inputs; k += Activations.COLUMNS) {
            int end = Math.min(inputs, k + Activations.COLUMNS);
            for (int i = 0; i < n; i++) {
                weights[i] = kernels.unpack(panel + i * stride, k, end, x.panel(worker, i));
            }
            for (int b = first / Activations.BLOCK; b * Activations.BLOCK < last; b++) {
                int at = (b * Activations.BLOCK - first) * Panel.ROWS;
                for (int i = 0; i < n; i++) {
                    if (kernels.form() == Form.FLOATS) {
                        Microkernel.multiply(x.input, x.at(b, k, end - k), weights[i], end - k, sums[i], at, k == 0);
                    } else {
                        int from = x.scaledBlocks.at(b, inputs / 32, k / 32);
                        WinogradKernel.multiply(x.scaledBlocks.pieces, from, weights[i], (end - k) / 32, sums[i], at, k == 0);
                    }
                }
            }
        }
    }

    private void nibbles(Activations x, long panel, int n, long offsets, float[][] sums, int worker) {
        int groups = inputs / 32;
        if (x.tokens == 1) {
            Q4Panels.dot(panel, groups, x.nibbles, x.factors(worker), sums[0], x.panel(worker, 0));
            if (offsets != 0) {
                F32Panels.dot(offsets, groups, x.nibbles.sums, 0, sums[0], 0, true);
            }
            return;
        }
        NibbleKernel.multiply(panel, stride, n, groups, x.nibbles, x.tokens, sums, x.panel(worker, 0));
        for (int i = 0; offsets != 0 && i < n; i++) {
            for (int b = 0; b < x.tokenBlocks(); b++) {
                int block = b * Activations.BLOCK;
                long weights = offsets + i * offsetBytes(inputs);
                Microkernel.multiply(x.nibbles.sums, block * groups, weights, groups, sums[i], block * Panel.ROWS, false);
            }
        }
    }

    private static PanelKernels kernels(Weight weight) {
        return switch (weight.format()) {
            case F32 -> F32Panels.INSTANCE;
            case F16 -> F16Panels.INSTANCE;
            case BF16 -> Bf16Panels.INSTANCE;
            case Q8_0 -> Q8Panels.INSTANCE;
            case Q4_0 -> Q4Panels.Q4_0;
            case Q4_1 -> Q4Panels.Q4_1;
            default -> throw new MillraceException(
                    weight.name() + " is " + weight.format() + ": the CPU executor has no kernels for it");
        };
    }

    private static long offsetBytes(int inputs) {
        return F32Panels.INSTANCE.panelBytes(inputs / 32);
    }
}
