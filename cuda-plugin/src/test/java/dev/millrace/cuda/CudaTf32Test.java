package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.kit.GraphOf;
import dev.millrace.core.kit.Kit;
import dev.millrace.core.kit.KitModels;
import dev.millrace.core.kit.Tolerance;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Float32 weights with products of TF32: within its rounding of 10 bits, and really rounded. */
@GpuOnly
class CudaTf32Test {
    private static final Tolerance TF32 =
            format -> format == WeightFormat.F32 ? 2e-3 : Tolerance.HALF_ACTIVATIONS.of(format);

    private static Executor executor;

    @BeforeAll
    static void open() {
        executor = new CudaProvider().open(0, new ExecutorOptions(0, ExecutorOptions.Math.TF32));
    }

    @AfterAll
    static void close() {
        executor.close();
    }

    @TestFactory
    Stream<DynamicTest> linearMapsAndModelsOfTheKit() {
        return Kit.cases().stream()
                .filter(c -> c.name().matches("(fused )?linear F32.*|.* model in F32.*"))
                .map(c -> DynamicTest.dynamicTest(c.name(), () -> c.check().run(executor, TF32)));
    }

    @Test
    void aPromptIsRoundedAndOneTokenIsNot() {
        try (Executor strict = new CudaProvider().open(0, ExecutorOptions.DEFAULT)) {
            int[] prompt = IntStream.range(1, 40).toArray();
            assertThat(logits(executor, prompt)).isNotEqualTo(logits(strict, prompt));
            assertThat(logits(executor, new int[] {7})).isEqualTo(logits(strict, new int[] {7}));
        }
    }

    private static float[] logits(Executor on, int[] tokens) {
        GraphOf.Built built = KitModels.fused(KitModels.gpt(WeightFormat.F32), on);
        float[] logits = new float[GraphOf.VOCABULARY];
        try (Program program = on.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
                Session session = program.newSession(64, KvFormat.F32)) {
            program.forward(Batch.of(session, tokens, Batch.Rows.LAST), MemorySegment.ofArray(logits));
        }
        return logits;
    }
}
