package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.kit.GraphOf;
import dev.millrace.core.kit.KitModels;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import dev.millrace.cuda.driver.Gpu;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

@GpuOnly
class CudaMemoryTest {
    @Test
    void loadedAndClosedFiftyTimesEveryByteIsBack() {
        try (Executor executor = new CudaProvider().open(0, ExecutorOptions.DEFAULT);
                Gpu gpu = Gpu.open(0)) {
            run(executor);
            long before = gpu.freeBytes();
            for (int i = 0; i < 50; i++) {
                run(executor);
            }
            assertThat(gpu.freeBytes()).as("free bytes after 50 rounds").isEqualTo(before);
        }
    }

    private static void run(Executor executor) {
        GraphOf.Built built = KitModels.fused(KitModels.llama(WeightFormat.Q4_0), executor);
        try (Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
                Session session = program.newSession(100_000, KvFormat.F16)) {
            assertThat(program.memory().sessions()).isGreaterThan(100_000L * 4);
            session.decode(new int[] {1, 2, 3}, Sampling.GREEDY, 5, token -> true);
        }
    }

    @Test
    void aCompileThatFailsKeepsNothingAndSaysWhere() {
        try (Executor executor = new CudaProvider().open(0, ExecutorOptions.DEFAULT);
                Gpu gpu = Gpu.open(0)) {
            run(executor);
            long before = gpu.freeBytes();
            GraphOf.Built built = KitModels.llama(WeightFormat.F32);
            String last = built.weights().names().stream().filter(n -> n.startsWith("w")).reduce((a, b) -> b).orElseThrow();
            Weights broken = built.weights().map((name, weight) -> name.equals(last) ? new Broken(weight) : weight);
            assertThatThrownBy(() -> executor.compile(built.graph(), broken, CompileOptions.DEFAULT))
                    .hasStackTraceContaining("the file is gone");
            assertThat(gpu.freeBytes()).isEqualTo(before);
        }
    }

    @Test
    void aSessionThatCannotFitIsRefusedWithBytesNeededAndFound() {
        try (Executor executor = new CudaProvider().open(0, ExecutorOptions.DEFAULT)) {
            GraphOf.Built built = KitModels.llama(WeightFormat.F32);
            try (Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT)) {
                assertThatThrownBy(() -> program.newSession(Integer.MAX_VALUE - 8, KvFormat.F32))
                        .isInstanceOf(MillraceException.class)
                        .hasMessageContaining("MiB")
                        .hasMessageContaining("free");
            }
        }
    }

    /** A weight whose rows cannot be read. */
    private record Broken(Weight whole) implements Weight {
        @Override
        public String name() {
            return whole.name();
        }

        @Override
        public dev.millrace.core.tensor.Shape shape() {
            return whole.shape();
        }

        @Override
        public WeightFormat format() {
            return whole.format();
        }

        @Override
        public void copyRows(long from, long count, MemorySegment target) {
            throw new MillraceException("the file is gone");
        }

        @Override
        public void decodeRows(long from, long count, float[] target, int offset) {
            throw new MillraceException("the file is gone");
        }
    }
}
