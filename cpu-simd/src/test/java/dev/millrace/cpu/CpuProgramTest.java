package dev.millrace.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.kit.GraphOf;
import dev.millrace.core.kit.KitModels;
import dev.millrace.core.kit.Trial;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.Views;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class CpuProgramTest {
    private static Executor executor(int threads) {
        return new CpuProvider().open(0, new ExecutorOptions(threads, ExecutorOptions.Math.F32));
    }

    @ParameterizedTest
    @CsvSource({"F32, F32", "F16, F32", "BF16, F16", "Q8_0, F16", "Q4_0, F32"})
    void decodingAllocatesNothingOnAnyThreadOnceWarm(WeightFormat format, KvFormat kv) {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        try (Executor executor = executor(2)) {
            GraphOf.Built built = KitModels.fused(KitModels.llama(format), executor);
            try (Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
                    Session session = program.newSession(100, kv)) {
                float[] logits = new float[GraphOf.VOCABULARY];
                MemorySegment target = MemorySegment.ofArray(logits);
                Batch step = Batch.of(session, new int[] {7}, Rows.LAST);
                program.forward(Batch.of(session, new int[40], Rows.NONE), MemorySegment.NULL);
                // compiled code allocates less than interpreted code: it must have settled, whatever the machine's load
                long[] ids = callerAndWorkers();
                assertThat(ids).hasSize(2);
                long least = Long.MAX_VALUE;
                for (int round = 0; round < 200 && least > 0; round++) {
                    long before = allocated(threads, ids);
                    for (int i = 0; i < 60; i++) {
                        session.truncate(30);
                        program.forward(step, target);
                    }
                    least = Math.min(least, allocated(threads, ids) - before);
                }
                assertThat(least).as("bytes allocated by 60 tokens").isZero();
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"4, 4, 64, F16", "4, 4, 64, F32", "8, 2, 64, F16", "6, 2, 128, F16", "3, 3, 20, F16"})
    void attentionOverALongCacheAllocatesNothingOnceWarm(int heads, int kvHeads, int headDim, KvFormat kv) {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        GraphOf g = new GraphOf(3);
        Op op = new Op.Attention(0, heads, kvHeads, headDim, 0.1f, true, 0);
        GraphOf.Built built = g.done(g.add(
                "attention",
                op,
                g.input(heads * headDim),
                g.input(kvHeads * headDim),
                g.input(kvHeads * headDim)));
        try (Executor executor = executor(2);
                Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
                Session session = program.newSession(400, kv)) {
            float[] out = new float[heads * headDim];
            MemorySegment target = MemorySegment.ofArray(out);
            Batch step = Batch.of(session, new int[] {7}, Rows.LAST);
            program.forward(Batch.of(session, Trial.tokens(350, new Random(8)), Rows.NONE), MemorySegment.NULL);
            long[] ids = callerAndWorkers();
            long least = Long.MAX_VALUE;
            for (int round = 0; round < 200 && least > 0; round++) {
                long before = allocated(threads, ids);
                for (int i = 0; i < 60; i++) {
                    session.truncate(300 + i % 40);
                    program.forward(step, target);
                }
                least = Math.min(least, allocated(threads, ids) - before);
            }
            assertThat(least).as("bytes allocated by 60 tokens").isZero();
        }
    }

    /** Bytes that these threads have allocated so far; itself it allocates nothing. */
    private static long allocated(ThreadMXBean threads, long[] ids) {
        long bytes = 0;
        for (long id : ids) {
            bytes += threads.getThreadAllocatedBytes(id);
        }
        return bytes;
    }

    private static long[] callerAndWorkers() {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(t -> t == Thread.currentThread() || t.getName().startsWith("millrace-worker"))
                .mapToLong(Thread::threadId)
                .toArray();
    }

    @Test
    void neitherThreadsNorChunksNorOtherSequencesChangeGreedyTokens() {
        List<Integer> expected = null;
        for (int threads : new int[] {1, 2, 3, 5}) {
            for (int chunk : new int[] {512, 7, 1}) {
                try (Executor executor = executor(threads)) {
                    GraphOf.Built built = KitModels.fused(KitModels.gpt(WeightFormat.F32), executor);
                    try (Program program = executor.compile(built.graph(), built.weights(), new CompileOptions(chunk));
                            Session session = program.newSession(110, KvFormat.F32)) {
                        List<Integer> tokens = new ArrayList<>();
                        session.decode(Trial.tokens(40, new Random(5)), Sampling.GREEDY, 60, tokens::add);
                        expected = expected == null ? tokens : expected;
                        assertThat(tokens).as("%d threads, chunks of %d", threads, chunk).isEqualTo(expected);
                    }
                }
            }
        }
        assertThat(expected).hasSize(60);
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "F16", "Q8_0"})
    void chunkedAndWholePromptsGiveTheSameLogits(WeightFormat format) {
        float[][] logits = new float[3][];
        int[] chunks = {512, 64, 13};
        int[] prompt = Trial.tokens(100, new Random(6));
        try (Executor executor = executor(2)) {
            GraphOf.Built built = KitModels.fused(KitModels.llama(format), executor);
            for (int i = 0; i < chunks.length; i++) {
                logits[i] = new float[100 * GraphOf.VOCABULARY];
                try (Program program = executor.compile(built.graph(), built.weights(), new CompileOptions(chunks[i]));
                        Session session = program.newSession(100, KvFormat.F32)) {
                    program.forward(Batch.of(session, prompt, Rows.ALL), MemorySegment.ofArray(logits[i]));
                }
            }
        }
        Trial.compare(logits[0], logits[1], 1e-5);
        Trial.compare(logits[0], logits[2], 1e-5);
    }

    @Test
    void memoryIsCountedAndGivenBack() {
        try (Executor executor = executor(2)) {
            GraphOf.Built built = KitModels.llama(WeightFormat.F32);
            Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
            assertThat(program.memory().weights()).isGreaterThan(100_000);
            assertThat(program.memory().sessions()).isZero();
            Session session = program.newSession(100, KvFormat.F32);
            long f32 = program.memory().sessions();
            // 2 layers of 2 heads: keys and values of at least 100 positions of 32 floats each
            assertThat(f32).isGreaterThanOrEqualTo(2L * 2 * 2 * 100 * 32 * 4).isLessThan(3L * 2 * 2 * 2 * 100 * 32 * 4);
            Session half = program.newSession(100, KvFormat.F16);
            assertThat(program.memory().sessions() - f32).isEqualTo(f32 / 2);
            half.close();
            session.close();
            session.close();
            assertThat(program.memory().sessions()).isZero();
            Batch batch = Batch.of(session, new int[1], Rows.NONE);
            assertThatThrownBy(() -> program.forward(batch, MemorySegment.NULL))
                    .isInstanceOf(MillraceException.class)
                    .hasMessageContaining("session is closed");
            program.newSession(10, KvFormat.F32);
            program.close();
            assertThat(program.memory().sessions()).isZero();
            assertThatThrownBy(() -> program.newSession(1, KvFormat.F32)).hasMessageContaining("program is closed");
        }
    }

    @Test
    void aSessionThatCannotFitIsRefusedWithBytesNeededAndFound() {
        try (Executor executor = executor(1)) {
            GraphOf.Built built = KitModels.llama(WeightFormat.F32);
            try (Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT)) {
                assertThatThrownBy(() -> program.newSession(Integer.MAX_VALUE - 100, KvFormat.F32))
                        .isInstanceOf(MillraceException.class)
                        .hasMessageMatching(
                                "no memory for a session of \\d+ tokens: \\d+ bytes needed, \\d+ available; .*");
                assertThatThrownBy(() -> program.newSession(0, KvFormat.F32)).isInstanceOf(MillraceException.class);
            }
        }
    }

    @Test
    void aTargetThatIsTooSmallIsRefused() {
        try (Executor executor = executor(1)) {
            GraphOf.Built built = KitModels.gpt(WeightFormat.F32);
            try (Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
                    Session session = program.newSession(10, KvFormat.F32)) {
                Batch batch = Batch.of(session, new int[3], Rows.ALL);
                MemorySegment target = MemorySegment.ofArray(new float[2 * GraphOf.VOCABULARY]);
                assertThatThrownBy(() -> program.forward(batch, target)).hasMessageContaining("need");
                assertThat(session.position()).isZero();
                assertThatThrownBy(() -> program.forward(new Batch(batch.slices(), "nothing"), target))
                        .hasMessageContaining(Graph.LOGITS);
            }
        }
    }

    @Test
    void aFormatWithoutKernelsIsRefusedWithTheNodesPath() {
        try (Executor executor = executor(1)) {
            WeightFormat odd = Arrays.stream(WeightFormat.values())
                    .filter(f -> !executor.formats().contains(f) && f.blockElements() == 32)
                    .findFirst()
                    .orElseThrow();
            GraphOf g = new GraphOf(1);
            var x = g.input(32);
            var built = g.done(g.add("here", g.linear(4, 32, WeightFormat.F32, false), x));
            var weights = built.weights().map((name, w) ->
                    w.shape().rows() == 4 ? Views.random(name, w.shape(), odd, 1, 1f) : w);
            assertThatThrownBy(() -> executor.compile(built.graph(), weights, CompileOptions.DEFAULT))
                    .isInstanceOf(MillraceException.class)
                    .hasMessageContaining("here")
                    .hasMessageContaining(odd.label());
        }
    }
}
