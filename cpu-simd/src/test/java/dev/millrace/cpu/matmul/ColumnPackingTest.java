package dev.millrace.cpu.matmul;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.cpu.pool.WorkerPool;
import dev.millrace.quant.Views;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ColumnPackingTest {
    /** Rows of a slice begin inside a panel of the whole. */
    private static final int SKIPPED = 3;

    /** Bytes of something else between panels. */
    private static final int GAP = 192;

    @ParameterizedTest
    @CsvSource({"F32, 1, 1", "F32, 33, 17", "F32, 300, 70", "F16, 1, 17", "F16, 100, 33", "F16, 256, 64", "BF16, 300, 5"})
    void columnsArePackedAsRowsAre(WeightFormat format, int rows, int inputs) {
        PanelKernels kernels = switch (format) {
            case F32 -> F32Panels.INSTANCE;
            case F16 -> F16Panels.INSTANCE;
            default -> Bf16Panels.INSTANCE;
        };
        try (Arena arena = Arena.ofShared();
                WorkerPool pool = new WorkerPool(2)) {
            Weight weight = sliceOfTransposed(format, rows, inputs, arena);
            int panels = Panel.count(rows);
            long stride = kernels.panelBytes(inputs) + GAP;
            MemorySegment byColumns = arena.allocate(panels * stride, 64);
            assertThat(ColumnPacking.pack(weight, kernels, byColumns.address(), stride, pool)).isTrue();
            MemorySegment byRows = arena.allocate(panels * stride, 64);
            for (int p = 0; p < panels; p++) {
                MemorySegment source = arena.allocate(format.rowBytes(inputs) * Panel.ROWS, 64);
                weight.copyRows((long) p * Panel.ROWS, Math.min(Panel.ROWS, rows - p * Panel.ROWS), source);
                kernels.pack(source, inputs, byRows.address() + p * stride);
            }
            assertThat(byColumns.mismatch(byRows)).as("first byte that differs").isEqualTo(-1);
        }
    }

    private static Weight sliceOfTransposed(WeightFormat format, int rows, int inputs, Arena arena) {
        int all = rows + 2 * SKIPPED;
        MemorySegment stored = arena.allocate(format.rowBytes(all) * inputs);
        Random random = new Random(rows);
        for (long at = 0; at < stored.byteSize(); at += format.blockBytes()) {
            float value = (float) random.nextGaussian();
            switch (format) {
                case F32 -> stored.set(ValueLayout.JAVA_FLOAT, at, value);
                case F16 -> stored.set(ValueLayout.JAVA_SHORT, at, Float.floatToFloat16(value));
                default -> stored.set(ValueLayout.JAVA_SHORT, at, (short) (Float.floatToRawIntBits(value) >>> 16));
            }
        }
        Weight columns = Views.of("w", new Shape(inputs, all), format, stored);
        return Views.rows("slice", Views.transposed("t", columns), SKIPPED, rows);
    }
}
