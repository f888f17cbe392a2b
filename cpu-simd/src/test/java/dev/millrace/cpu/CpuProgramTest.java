package dev.millrace.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Batch.Slice;
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
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class CpuProgramTest {
    private static Executor executor(int threads) {
        return new CpuProvider().open(0, new ExecutorOptions(threads, ExecutorOptions.Math.F32));
    }

    @ParameterizedTest
    @CsvSource({
        "F32, F32, 1", "F16, F32, 1", "BF16, F16, 1", "Q8_0, F16, 1", "Q4_0, F32, 1",
        "F32, F16, 3", "F16, F16, 5", "F16, F32, 20", "BF16, F32, 2", "Q8_0, F32, 4", "Q4_0, F16, 3"
    })
    void decodingAllocatesNothingOnAnyThreadOnceWarmAndNothingIsCollected(WeightFormat format, KvFormat kv, int sequences) {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        try (Executor executor = executor(2)) {
            GraphOf.Built built = KitModels.fused(KitModels.llama(format), executor);
            try (Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT)) {
                List<Slice> slices = new ArrayList<>();
                for (int i = 0; i < sequences; i++) {
                    Session session = program.newSession(100, kv);
                    program.forward(Batch.of(session, new int[40 + i], Rows.NONE), MemorySegment.NULL);
                    slices.add(new Slice(session, new int[] {7 + i}, Rows.LAST));
                }
                MemorySegment target = MemorySegment.ofArray(new float[sequences * GraphOf.VOCABULARY]);
                Batch step = new Batch(slices, Graph.LOGITS);
                // compiled code allocates less than interpreted code: it must have settled, whatever the machine's load
                long[] ids = callerAndWorkers();
                assertThat(ids).hasSize(2);
                long least = Long.MAX_VALUE;
                for (int round = 0; round < 200 && least > 0; round++) {
                    long before = allocated(threads, ids);
                    steps(60, program, step, target);
                    least = Math.min(least, allocated(threads, ids) - before);
                }
                assertThat(least).as("bytes allocated by 60 steps").isZero();
                long before = collections();
                steps(400, program, step, target);
                assertThat(collections() - before).as("collections during 400 steps").isZero();
            }
        }
    }

    private static void steps(int n, Program program, Batch step, MemorySegment target) {
        for (int i = 0; i < n; i++) {
            for (int slice = 0; slice < step.slices().size(); slice++) {
                step.slices().get(slice).session().truncate(30);
            }
            program.forward(step, target);
        }
    }

    private static long collections() {
        return ManagementFactory.getGarbageCollectorMXBeans().stream()
                .mapToLong(GarbageCollectorMXBean::getCollectionCount)
                .sum();
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

    /** As many as there are cores, so that every worker loses its own now and then. */
    @Test
    @Timeout(120) // ends a deadlock
    @DisabledOnOs(value = OS.WINDOWS, disabledReason = "the busy processes are shells")
    void busyProcessesNeitherStopDecodingNorChangeItsTokens() throws IOException {
        int[] prompt = Trial.tokens(20, new Random(9));
        List<Process> busy = new ArrayList<>();
        try (Executor executor = executor(2)) {
            GraphOf.Built built = KitModels.fused(KitModels.gpt(WeightFormat.Q4_0), executor);
            try (Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
                    Session session = program.newSession(110, KvFormat.F32)) {
                List<Integer> quiet = decode(session, prompt);
                for (int i = 0; i < Runtime.getRuntime().availableProcessors(); i++) {
                    busy.add(new ProcessBuilder("sh", "-c", "while :; do :; done").start());
                }
                // long enough for time slices to end: workers leave and come back
                for (long end = System.nanoTime() + 2_000_000_000L; System.nanoTime() < end; ) {
                    assertThat(decode(session, prompt)).isEqualTo(quiet);
                }
                assertThat(busy).as("ran all the time").allMatch(Process::isAlive);
            }
        } finally {
            busy.forEach(Process::destroyForcibly);
        }
    }

    private static List<Integer> decode(Session session, int[] prompt) {
        List<Integer> tokens = new ArrayList<>();
        session.truncate(0);
        session.decode(prompt, Sampling.GREEDY, 80, tokens::add);
        assertThat(tokens).hasSize(80);
        return tokens;
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "F16", "BF16", "Q8_0", "Q4_0"})
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
