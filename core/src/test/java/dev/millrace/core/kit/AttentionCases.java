package dev.millrace.core.kit;

import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.NormKind;
import dev.millrace.core.graph.RopeFrequencies;
import dev.millrace.core.graph.Value;
import dev.millrace.core.kit.Trial.Pair;
import dev.millrace.core.kit.Trial.Part;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/** Attention with and without cache, grouped heads, windows, awkward head sizes, fused with rotation and norms. */
final class AttentionCases {
    private record Heads(int heads, int kvHeads, int headDim) {}

    private static final List<Heads> HEADS = List.of(
            new Heads(1, 1, 8),
            new Heads(4, 4, 16),
            new Heads(4, 2, 20),
            new Heads(3, 1, 33),
            new Heads(6, 2, 64),
            new Heads(2, 2, 80),
            new Heads(8, 1, 128),
            new Heads(2, 1, 256));

    private AttentionCases() {}

    static List<KitCase> all() {
        List<KitCase> cases = new ArrayList<>();
        for (Heads h : HEADS) {
            for (KvFormat kv : KvFormat.values()) {
                cases.add(causal(h, 0, kv, false));
                cases.add(causal(h, 11, kv, false));
                cases.add(causal(h, 0, kv, true));
            }
            cases.add(encoder(h));
        }
        for (RopeFrequencies f : OpCases.frequencies()) {
            if (!f.dependsOnLength()) {
                cases.add(rotated(f, false, false));
                cases.add(rotated(f, true, true));
            }
        }
        cases.add(longContext());
        return cases;
    }

    private static Op.Attention op(Heads h, boolean causal, int window) {
        return new Op.Attention(
                0, h.heads, h.kvHeads, h.headDim, (float) (1 / Math.sqrt(h.headDim)), causal, window);
    }

    private static Value separate(GraphOf g, Heads h, Op.Attention op) {
        Value q = g.input(h.heads * h.headDim);
        Value k = g.input(h.kvHeads * h.headDim);
        return g.add("op", op, q, k, g.input(h.kvHeads * h.headDim));
    }

    private static Value packed(GraphOf g, Heads h, Op.SelfAttention op) {
        return g.add("op", op, g.input((h.heads + 2 * h.kvHeads) * h.headDim));
    }

    private static KitCase causal(Heads h, int window, KvFormat kv, boolean fused) {
        String name = "causal " + h + (window > 0 ? ", window " + window : "") + ", cache " + kv + (fused ? ", fused" : "");
        return new KitCase(name, (executor, tolerance) -> {
            GraphOf g = new GraphOf(h.headDim);
            Op.Attention op = op(h, true, window);
            Value y = fused
                    ? packed(g, h, new Op.SelfAttention(op, Optional.empty(), Optional.empty(), Optional.empty()))
                    : separate(g, h, op);
            grow(executor, g.done(y), kv, kv == KvFormat.F16 ? 2e-3 : 1e-5);
        });
    }

    /** A prompt, single tokens, another chunk, a step back, and other sequences in the same batch. */
    private static void grow(Executor executor, GraphOf.Built built, KvFormat kv, double tolerance) {
        try (Trial trial = new Trial(executor, built)) {
            Random random = new Random(12);
            Pair a = trial.session(100, kv);
            Pair b = trial.session(90, kv);
            trial.forward(tolerance, 17, new Part(a, Trial.tokens(17, random), Rows.ALL));
            for (int i = 0; i < 3; i++) {
                trial.forward(tolerance, 1, new Part(a, Trial.tokens(1, random), Rows.ALL));
            }
            trial.forward(
                    tolerance,
                    38,
                    new Part(a, Trial.tokens(5, random), Rows.ALL),
                    new Part(b, Trial.tokens(33, random), Rows.ALL));
            a.expected().truncate(6);
            a.found().truncate(6);
            trial.forward(
                    tolerance, 2, new Part(b, Trial.tokens(1, random), Rows.ALL), new Part(a, Trial.tokens(1, random), Rows.ALL));
            trial.forward(tolerance, 50, new Part(a, Trial.tokens(50, random), Rows.ALL));
        }
    }

    private static KitCase encoder(Heads h) {
        return new KitCase("full attention " + h + " of three sequences", (executor, tolerance) -> {
            GraphOf g = new GraphOf(h.headDim);
            try (Trial trial = new Trial(executor, g.done(separate(g, h, op(h, false, 0))))) {
                Random random = new Random(13);
                Pair[] pairs = {
                    trial.session(40, KvFormat.F32), trial.session(40, KvFormat.F32), trial.session(40, KvFormat.F32)
                };
                for (int round = 0; round < 2; round++) {
                    trial.forward(
                            1e-5,
                            43,
                            new Part(pairs[0], Trial.tokens(5, random), Rows.ALL),
                            new Part(pairs[1], Trial.tokens(1, random), Rows.ALL),
                            new Part(pairs[2], Trial.tokens(37, random), Rows.ALL));
                }
            }
        });
    }

    private static KitCase rotated(RopeFrequencies f, boolean interleaved, boolean norms) {
        String name = "fused attention with rope " + f.scaling() + (interleaved ? ", interleaved" : "") + (norms ? ", norms" : "");
        return new KitCase(name, (executor, tolerance) -> {
            Heads h = new Heads(4, 2, 48);
            GraphOf g = new GraphOf(14);
            Optional<Op.Norm> qNorm = norms ? Optional.of(g.norm(NormKind.RMS, 48)) : Optional.empty();
            Optional<Op.Norm> kNorm = norms ? Optional.of(g.norm(NormKind.RMS, 48)) : Optional.empty();
            Op.Rope rope = new Op.Rope(48, norms ? 24 : 48, interleaved, f);
            Value y = packed(g, h, new Op.SelfAttention(op(h, true, 0), qNorm, kNorm, Optional.of(rope)));
            grow(executor, g.done(y), KvFormat.F32, 2e-5);
        });
    }

    private static KitCase longContext() {
        return new KitCase("a context of 700 tokens, then single ones", (executor, tolerance) -> {
            Heads h = new Heads(4, 2, 64);
            GraphOf g = new GraphOf(15);
            try (Trial trial = new Trial(executor, g.done(separate(g, h, op(h, true, 0))))) {
                Random random = new Random(16);
                Pair pair = trial.session(704, KvFormat.F32);
                trial.forward(1e-5, 700, new Part(pair, Trial.tokens(700, random), Rows.ALL));
                for (int i = 0; i < 4; i++) {
                    trial.forward(1e-5, 1, new Part(pair, Trial.tokens(1, random), Rows.ALL));
                }
            }
        });
    }
}
