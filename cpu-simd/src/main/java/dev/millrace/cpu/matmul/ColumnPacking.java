package dev.millrace.cpu.matmul;

import dev.millrace.core.tensor.Weight;
import dev.millrace.cpu.pool.WorkerPool;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Packs weights that are stored input by input, as GPT-2's are: the columns of a panel lie there ready, one
 * {@link Panel#ROWS} outputs wide strip after the other.
 */
final class ColumnPacking {
    /** Panels whose strips lie side by side and are read together. */
    private static final int PANELS = 4;

    private ColumnPacking() {}

    /** Packs the weight's panels from {@code address} on, {@code stride} apart; does nothing and returns false where it is not stored so. */
    static boolean pack(Weight weight, PanelKernels kernels, long address, long stride, WorkerPool pool) {
        int inputs = Math.toIntExact(weight.shape().columns());
        int rows = Math.toIntExact(weight.shape().rows());
        if (weight.format().quantized() || !weight.copyColumns(0, 0, MemorySegment.NULL)) {
            return false;
        }
        int width = PANELS * Panel.ROWS;
        pool.run((worker, workers) -> {
            int strips = Math.ceilDiv(rows, width);
            for (int strip = pool.claim(worker, strips); strip >= 0; strip = pool.claim(worker, strips)) {
                int first = strip * width;
                int count = Math.min(width, rows - first);
                long target = address + first / Panel.ROWS * stride;
                switch (kernels) {
                    case F32Panels f -> floats(weight, first, count, target, stride);
                    case F16Panels f -> shorts(weight, first, count, target, stride, true);
                    case Bf16Panels f -> shorts(weight, first, count, target, stride, false);
                    default -> throw new IllegalArgumentException(kernels + " are not of plain floats");
                }
            }
        });
        return true;
    }

    private static void shorts(Weight weight, int first, int count, long target, long stride, boolean halves) {
        int inputs = (int) weight.shape().columns();
        short[] columns = new short[Math.multiplyExact(inputs, count)];
        weight.copyColumns(first, count, MemorySegment.ofArray(columns));
        for (int at = 0; at < count; at += Panel.ROWS) {
            short[] panel = new short[inputs * Panel.ROWS];
            strip(columns, at, count, panel, Math.min(Panel.ROWS, count - at), inputs);
            if (halves) {
                F16Panels.write(panel, target);
            } else {
                Packing.write(panel, target);
            }
            target += stride;
        }
    }

    private static void floats(Weight weight, int first, int count, long target, long stride) {
        int inputs = (int) weight.shape().columns();
        float[] columns = new float[Math.multiplyExact(inputs, count)];
        weight.copyColumns(first, count, MemorySegment.ofArray(columns));
        for (int at = 0; at < count; at += Panel.ROWS) {
            float[] panel = new float[inputs * Panel.ROWS];
            strip(columns, at, count, panel, Math.min(Panel.ROWS, count - at), inputs);
            MemorySegment.copy(panel, 0, Panel.ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, target, panel.length);
            target += stride;
        }
    }

    /** {@code n} elements of each column, {@code stride} apart from {@code at}; {@code columns} and {@code panel} are arrays. */
    private static void strip(Object columns, int at, int stride, Object panel, int n, int inputs) {
        for (int k = 0; k < inputs; k++) {
            System.arraycopy(columns, k * stride + at, panel, k * Panel.ROWS, n);
        }
    }
}
