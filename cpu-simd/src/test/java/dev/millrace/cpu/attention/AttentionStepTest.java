package dev.millrace.cpu.attention;

import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.kit.GraphOf;
import dev.millrace.core.kit.Trial;
import dev.millrace.core.kit.Trial.Pair;
import dev.millrace.core.kit.Trial.Part;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.cpu.CpuProvider;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Attention over several tiles of positions, its work cut among any number of workers, against double precision. */
class AttentionStepTest {
    @ParameterizedTest(name = "{0} workers, {1} heads, {2} kv heads, head {3}, window {4}, cache {5}")
    @CsvSource({
        "1, 12, 12, 64, 0, F32",
        "2, 12, 12, 64, 0, F32",
        "2, 3, 1, 20, 0, F32",
        "3, 4, 2, 36, 0, F16",
        "4, 1, 1, 64, 0, F32",
        "5, 2, 2, 7, 0, F32",
        "7, 8, 1, 128, 0, F16",
        "2, 6, 2, 64, 0, F16",
        "3, 4, 4, 128, 70, F16",
        "3, 6, 2, 80, 50, F32",
        "2, 5, 5, 33, 130, F16"
    })
    void promptsAndStepsFarBeyondOneTile(int workers, int heads, int kvHeads, int headDim, int window, KvFormat kv) {
        GraphOf g = new GraphOf(workers);
        float scale = (float) (1 / Math.sqrt(headDim));
        Op.Attention op = new Op.Attention(0, heads, kvHeads, headDim, scale, true, window);
        var built = g.done(g.add(
                "attention",
                op,
                g.input(heads * headDim),
                g.input(kvHeads * headDim),
                g.input(kvHeads * headDim)));
        Random random = new Random(17);
        try (Executor executor = new CpuProvider().open(0, new ExecutorOptions(workers, ExecutorOptions.Math.F32));
                Trial trial = new Trial(executor, built, new CompileOptions(200))) {
            Pair a = trial.session(700, kv);
            Pair b = trial.session(700, kv);
            trial.forward(1e-5, 150, new Part(a, Trial.tokens(150, random), Rows.ALL));
            trial.forward(1e-5, 290, new Part(a, Trial.tokens(290, random), Rows.ALL)); // two chunks
            trial.forward(
                    1e-5,
                    71,
                    new Part(b, Trial.tokens(70, random), Rows.ALL),
                    new Part(a, Trial.tokens(1, random), Rows.ALL));
            for (int step = 0; step < 3; step++) { // one sequence: a head may be cut anywhere
                trial.forward(1e-5, 1, new Part(a, Trial.tokens(1, random), Rows.LAST));
            }
            trial.forward(
                    1e-5,
                    2,
                    new Part(b, Trial.tokens(1, random), Rows.LAST),
                    new Part(a, Trial.tokens(1, random), Rows.LAST));
        }
    }

    /** What one step alone reads is left as it reads it: of many tokens of one sequence in blocks, else in rows. */
    @ParameterizedTest(name = "{0} workers, {1} heads, {2} kv heads, head {3}, weights {4}")
    @CsvSource({
        "2, 12, 12, 64, F32",
        "2, 4, 2, 32, F16",
        "3, 3, 1, 64, F32",
        "2, 3, 3, 20, BF16",
        "1, 16, 1, 64, F16",
        "2, 4, 4, 32, Q8_0"
    })
    void linearMapsReadWhatAttentionAndOtherMapsHandThem(
            int workers, int heads, int kvHeads, int headDim, WeightFormat format) {
        GraphOf g = new GraphOf(heads);
        int width = heads * headDim;
        Op.Attention op = new Op.Attention(0, heads, kvHeads, headDim, 0.2f, true, 0);
        Value attention =
                g.add("attention", op, g.input(width), g.input(kvHeads * headDim), g.input(kvHeads * headDim));
        Value up = g.add("up", g.linear(608, width, format, true), attention);
        var built = g.done(g.add("down", g.linear(37, 608, format, false), up));
        Random random = new Random(23);
        try (Executor executor = new CpuProvider().open(0, new ExecutorOptions(workers, ExecutorOptions.Math.F32));
                Trial trial = new Trial(executor, built, new CompileOptions(100))) {
            Pair a = trial.session(400, KvFormat.F32);
            Pair b = trial.session(400, KvFormat.F32);
            trial.forward(1e-5, 77, new Part(a, Trial.tokens(77, random), Rows.ALL));
            trial.forward(1e-5, 130, new Part(a, Trial.tokens(130, random), Rows.ALL)); // a whole chunk and 30 tokens
            trial.forward(1e-5, 9, new Part(a, Trial.tokens(9, random), Rows.ALL));
            trial.forward( // two sequences in a chunk, the second not at the beginning of a block
                    1e-5,
                    60,
                    new Part(a, Trial.tokens(35, random), Rows.ALL),
                    new Part(b, Trial.tokens(25, random), Rows.ALL));
        }
    }

    @ParameterizedTest
    @CsvSource({"1, 3, 3, 32", "2, 4, 2, 20", "3, 2, 1, 64"})
    void encodersSeeTheirWholeSequenceAndNoOther(int workers, int heads, int kvHeads, int headDim) {
        GraphOf g = new GraphOf(workers);
        Op.Attention op = new Op.Attention(0, heads, kvHeads, headDim, 0.3f, false, 0);
        var built = g.done(g.add(
                "attention",
                op,
                g.input(heads * headDim),
                g.input(kvHeads * headDim),
                g.input(kvHeads * headDim)));
        Random random = new Random(19);
        try (Executor executor = new CpuProvider().open(0, new ExecutorOptions(workers, ExecutorOptions.Math.F32));
                Trial trial = new Trial(executor, built, new CompileOptions(64))) {
            Pair a = trial.session(300, KvFormat.F32);
            Pair b = trial.session(300, KvFormat.F32);
            trial.forward(1e-5, 100, new Part(a, Trial.tokens(100, random), Rows.ALL)); // more than a chunk, not cut
            trial.forward(
                    1e-5,
                    31,
                    new Part(b, Trial.tokens(1, random), Rows.ALL),
                    new Part(a, Trial.tokens(30, random), Rows.ALL));
        }
    }
}
