package dev.millrace.models;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.quant.WeightRequest;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The embedded model's greedy text on the SIMD executor, however its work is cut. */
class GreedyOutputTest {
    /** The 24th is a tie to the last bits: with int4, which rounds activations, those decide. */
    private static final int NEW = 20;

    private static final String PROMPT = "It was a dark and stormy night, and the old man who sat by the fire had not"
            + " spoken a word since the door was closed upon the wind and the rain.";

    @ParameterizedTest
    @EnumSource(names = {"INT8", "INT4"})
    void neitherChunksNorThreadsNorOtherSequencesChangeIt(WeightRequest weights) {
        List<Integer> expected = null;
        try (Model model = Model.embedded()) {
            int[] prompt = model.tokenizer().encode(PROMPT, true);
            assertThat(prompt).hasSizeBetween(30, 60);
            for (int threads : new int[] {1, 3}) {
                try (Executor executor =
                        Executors.named("cpu-simd").open(0, new ExecutorOptions(threads, ExecutorOptions.Math.F32))) {
                    for (int chunk : new int[] {512, 11, 1}) {
                        EngineOptions options = new EngineOptions(weights, null, new CompileOptions(chunk), true);
                        try (Engine engine = Engine.open(model, executor, options)) {
                            for (int batch : new int[] {1, 2, 5}) {
                                List<Integer> tokens = first(engine, prompt, batch);
                                expected = expected == null ? tokens : expected;
                                assertThat(tokens)
                                        .as("%s, %d threads, chunks of %d, %d sequences", weights, threads, chunk, batch)
                                        .isEqualTo(expected);
                            }
                        }
                    }
                }
            }
        }
        assertThat(expected).hasSize(NEW);
    }

    /** Greedy tokens of the prompt in the last of {@code batch} sequences; those before it begin elsewhere in the prompt. */
    private static List<Integer> first(Engine engine, int[] prompt, int batch) {
        int vocabulary = engine.program().graph().output(Graph.LOGITS).width();
        float[] logits = new float[batch * vocabulary];
        List<Session> sessions = new ArrayList<>();
        List<Integer> tokens = new ArrayList<>();
        try {
            int[][] next = new int[batch][];
            for (int i = 0; i < batch; i++) {
                sessions.add(engine.newSession(prompt.length + NEW));
                next[i] = Arrays.copyOfRange(prompt, batch - 1 - i, prompt.length);
            }
            while (tokens.size() < NEW) {
                List<Slice> slices = new ArrayList<>();
                for (int i = 0; i < batch; i++) {
                    slices.add(new Slice(sessions.get(i), next[i], Rows.LAST));
                }
                engine.program().forward(new Batch(slices, Graph.LOGITS), MemorySegment.ofArray(logits));
                for (int i = 0; i < batch; i++) {
                    next[i] = new int[] {highest(logits, i * vocabulary, vocabulary)};
                }
                tokens.add(next[batch - 1][0]);
            }
        } finally {
            sessions.forEach(Session::close);
        }
        return tokens;
    }

    private static int highest(float[] logits, int at, int n) {
        int best = 0;
        for (int i = 1; i < n; i++) {
            best = logits[at + i] > logits[at + best] ? i : best;
        }
        return best;
    }
}
