package dev.millrace.core.kit;

import static dev.millrace.core.tensor.WeightFormat.F32;

import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.Index;
import dev.millrace.core.graph.Op.NormKind;
import dev.millrace.core.graph.Op.Pooling;
import dev.millrace.core.graph.RopeFrequencies;
import dev.millrace.core.graph.Value;
import dev.millrace.core.kit.Trial.Pair;
import dev.millrace.core.kit.Trial.Part;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.BiFunction;

/** Every op that is no matrix product and no attention, alone, at awkward widths. */
final class OpCases {
    private static final int[] WIDTHS = {1, 7, 16, 33, 64, 100, 259, 1024};
    private static final int[] TOKENS = {1, 3, 17};

    private OpCases() {}

    static List<KitCase> all() {
        List<KitCase> cases = new ArrayList<>();
        for (int width : WIDTHS) {
            cases.add(rows("add", width, (g, x) -> g.add("op", new Op.Add(), x, g.input(width))));
            for (Act act : Act.values()) {
                cases.add(rows(act + " activation", width, (g, x) -> g.add("op", new Op.Activation(act), x)));
                cases.add(rows(act + " gate", width, (g, x) -> g.add("op", new Op.Gate(act), x, g.input(width))));
            }
            for (NormKind kind : NormKind.values()) {
                cases.add(rows(kind + " norm", width, (g, x) -> g.add("op", g.norm(kind, width), x)));
                cases.add(rows(
                        kind + " norm of 3 groups", width, (g, x) -> g.add("op", g.norm(kind, width), g.input(3 * width))));
            }
            cases.add(rows("permute", width, (g, x) -> g.add("op", new Op.Permute(g.vector(order(width))), x)));
        }
        cases.add(extremes());
        for (RopeFrequencies f : frequencies()) {
            for (boolean interleaved : new boolean[] {false, true}) {
                String name = "rope " + f.scaling() + (interleaved ? ", interleaved" : "");
                cases.add(rows(name, 80, (g, x) -> g.add("op", new Op.Rope(20, 12, interleaved, f), x)));
                cases.add(rows(name, 192, (g, x) -> g.add("op", new Op.Rope(64, 64, interleaved, f), x)));
            }
        }
        cases.add(new KitCase("embeddings of token, position with offset and type, summed", (executor, tolerance) -> {
            for (boolean fused : new boolean[] {false, true}) {
                GraphOf g = new GraphOf(3);
                var built = g.done(embeddings(g, fused));
                try (Trial trial = new Trial(executor, built)) {
                    Random random = new Random(4);
                    Pair pair = trial.session(32, KvFormat.F32);
                    int[] types = {0, 1, 2, 1, 0};
                    trial.forward(1e-7, 5, new Part(pair, Trial.tokens(5, random), types, Rows.ALL));
                    trial.forward(1e-7, 4, new Part(pair, Trial.tokens(4, random), Rows.ALL));
                }
            }
        }));
        cases.add(select());
        for (Pooling pooling : Pooling.values()) {
            cases.add(new KitCase(pooling + " pooling of sequences of 1, 5 and 17 tokens", (executor, tolerance) -> {
                GraphOf g = new GraphOf(5);
                try (Trial trial = new Trial(executor, g.done(g.add("op", new Op.Pool(pooling), g.input(100))))) {
                    Random random = new Random(6);
                    trial.forward(
                            1e-6,
                            3,
                            new Part(trial.session(8, KvFormat.F32), Trial.tokens(1, random), Rows.ALL),
                            new Part(trial.session(8, KvFormat.F32), Trial.tokens(5, random), Rows.ALL),
                            new Part(trial.session(20, KvFormat.F32), Trial.tokens(17, random), Rows.ALL));
                }
            }));
        }
        return cases;
    }

    private static KitCase rows(String name, int width, BiFunction<GraphOf, Value, Value> op) {
        return new KitCase(name + ", width " + width, (executor, tolerance) -> {
            GraphOf g = new GraphOf(width);
            try (Trial trial = new Trial(executor, g.done(op.apply(g, g.input(width))))) {
                Random random = new Random(width);
                for (int n : TOKENS) {
                    Pair pair = trial.session(64, KvFormat.F32);
                    trial.forward(3e-6, n, new Part(pair, Trial.tokens(n, random), Rows.ALL));
                }
            }
        });
    }

    private static KitCase extremes() {
        return new KitCase("activations far from zero neither overflow nor lose their sign", (executor, tolerance) -> {
            float[] far = {-1e4f, -100, -30, -10, -5, -1, -1e-3f, -1e-20f, 0, 1e-20f, 1e-3f, 1, 5, 10, 30, 100, 1e4f};
            for (Act act : Act.values()) {
                GraphOf g = new GraphOf(1);
                Value zero = g.add("zero", new Op.Norm(
                        NormKind.LAYER, g.vector(new float[far.length]), Optional.of(g.vector(far)), 1e-5f), g.input(far.length));
                try (Trial trial = new Trial(executor, g.done(g.add("op", new Op.Activation(act), zero)))) {
                    trial.forward(1e-6, 1, new Part(trial.session(4, KvFormat.F32), new int[] {1}, Rows.ALL));
                }
            }
        });
    }

    static List<RopeFrequencies> frequencies() {
        return List.of(
                new RopeFrequencies(10000, new RopeFrequencies.Plain()),
                new RopeFrequencies(10000, new RopeFrequencies.Linear(4)),
                new RopeFrequencies(10000, new RopeFrequencies.Dynamic(2, 8)),
                new RopeFrequencies(500000, new RopeFrequencies.Llama3(8, 1, 4, 64)),
                new RopeFrequencies(10000, new RopeFrequencies.Yarn(4, 32, 32, 1, 1.1386, true)));
    }

    private static float[] order(int width) {
        List<Integer> order = new ArrayList<>();
        for (int i = 0; i < width; i++) {
            order.add(i);
        }
        Collections.shuffle(order, new Random(width));
        float[] floats = new float[width];
        for (int i = 0; i < width; i++) {
            floats[i] = order.get(i);
        }
        return floats;
    }

    private static Value embeddings(GraphOf g, boolean fused) {
        Op.Embed token = new Op.Embed(Index.TOKEN, g.matrix(GraphOf.VOCABULARY, 36, F32), 0);
        Op.Embed position = new Op.Embed(Index.POSITION, g.matrix(40, 36, F32), 2);
        Op.Embed type = new Op.Embed(Index.TOKEN_TYPE, g.matrix(3, 36, F32), 0);
        if (fused) {
            return g.add("sum", new Op.EmbedSum(List.of(token, position, type)));
        }
        Value two = g.add("two", new Op.Add(), g.add("token", token), g.add("position", position));
        return g.add("sum", new Op.Add(), two, g.add("type", type));
    }

    private static KitCase select() {
        return new KitCase("only the wanted rows of a batch are given out", (executor, tolerance) -> {
            GraphOf g = new GraphOf(7);
            Value kept = g.add("select", new Op.Select(), g.input(33));
            try (Trial trial = new Trial(executor, g.done(g.add("head", g.linear(19, 33, F32, true), kept)))) {
                Random random = new Random(8);
                Part none = new Part(trial.session(9, KvFormat.F32), Trial.tokens(3, random), Rows.NONE);
                Part last = new Part(trial.session(9, KvFormat.F32), Trial.tokens(4, random), Rows.LAST);
                Part every = new Part(trial.session(9, KvFormat.F32), Trial.tokens(5, random), Rows.ALL);
                trial.forward(1e-5, 6, none, last, every);
                Part again = new Part(trial.session(9, KvFormat.F32), Trial.tokens(3, random), Rows.NONE);
                trial.forward(1e-5, 0, again);
            }
        });
    }
}
