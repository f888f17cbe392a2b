package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.executor.RoofProbe.Kind;
import dev.millrace.core.executor.RoofProbe.Sample;
import org.junit.jupiter.api.Test;

@GpuOnly
class CudaRoofsTest {
    @Test
    void everyRoofIsMeasuredAndTheirOrderIsThatOfTheHardware() {
        try (Executor executor = new CudaProvider().open(0, ExecutorOptions.DEFAULT);
                RoofProbe roofs = executor.roofs()) {
            for (Kind kind : roofs.kinds()) {
                Sample sample = roofs.measure(kind, 0, 0, 20);
                assertThat(sample.median()).as(kind.name()).isPositive().isFinite();
                assertThat(sample.min()).isLessThanOrEqualTo(sample.median());
                assertThat(sample.max()).isGreaterThanOrEqualTo(sample.median());
            }
            double fma = roofs.measure(Kind.FMA_F32, 0, 0, 20).median();
            double tf32 = roofs.measure(Kind.MATRIX_TF32, 0, 0, 20).median();
            double bf16 = roofs.measure(Kind.MATRIX_BF16, 0, 0, 20).median();
            assertThat(tf32).isGreaterThan(fma);
            assertThat(bf16).isGreaterThan(tf32);
            double cached = roofs.measure(Kind.READ, 0, 8 << 20, 20).median();
            double far = roofs.measure(Kind.READ, 0, 0, 20).median();
            assertThat(cached).as("reads from the second-level cache").isGreaterThan(far);
        }
    }
}
