package dev.millrace.cuda;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.RopeFrequencies;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.Value.Rows;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.IntToLongFunction;

/** Turns the nodes of a graph into steps, and decides where everything lies, before anything is allocated. */
final class Lowering {
    private final Graph graph;
    private final Weights weights;
    private final Activations activations;
    private final WeightLayout layout = new WeightLayout();
    private final Map<String, RopeRef.Table> ropes = new LinkedHashMap<>();
    private final Map<Integer, Long> kvOffsets = new HashMap<>();
    private final Map<Value, Value> selectSources = new HashMap<>();
    private long kvElements;

    private Lowering(Graph graph, Weights weights, Activations activations) {
        this.graph = graph;
        this.weights = weights;
        this.activations = activations;
    }

    /**
     * What a graph becomes.
     *
     * @param kvElements elements that one position takes in the caches of all layers
     * @param maxTokens tokens that are processed at once
     */
    record Lowered(
            Graph graph,
            List<Step> steps,
            WeightLayout layout,
            ValueFormats formats,
            List<RopeRef.Table> ropes,
            Map<Value, Value> selectSources,
            long kvElements,
            boolean causal,
            boolean strict,
            int maxTokens,
            Work work) {}

    /**
     * Work space beside the activations: offsets in bytes from its start.
     *
     * @param counters always zero between launches
     * @param best every block's highest score
     * @param layers streams and their parts, see {@link LayerRules}
     * @param expanded the largest part of a matrix that is expanded at once
     */
    record Work(
            long counters, long best, long sampler, long layers, long attention, long product, long expanded, long bytes) {}

    /**
     * Lowers {@code graph}.
     *
     * @param activations is told what else must be set aside
     * @param chunk how many tokens are processed at once, once it is known what they need
     */
    static Lowered lower(
            Graph graph, Weights weights, Activations activations, Chunk chunk, LaunchRules rules, boolean strict) {
        return new Lowering(graph, weights, activations).run(chunk, rules, strict);
    }

    /** Decides how many tokens are processed at once. */
    @FunctionalInterface
    interface Chunk {
        /**
         * @param weightBytes what the weights take
         * @param bytesFor what processing so many tokens at once takes beside them
         */
        int choose(long weightBytes, IntToLongFunction bytesFor);
    }

    private Lowered run(Chunk chunk, LaunchRules rules, boolean strict) {
        for (Op.Attention a : graph.attentions()) {
            if (a.causal() && kvOffsets.putIfAbsent(a.layer(), kvElements) == null) {
                kvElements += 2L * a.kvHeads() * a.headDim();
            }
        }
        List<Step> steps = new ArrayList<>();
        for (Node node : graph.nodes()) {
            try {
                steps.add(step(node));
            } catch (MillraceException e) {
                throw new MillraceException(graph.name() + ": " + node.path() + ": " + e.getMessage(), e);
            }
        }
        ropes.values().forEach(table -> activations.extra(table.name(), Rows.TOKENS, table.rowBytes()));
        ValueFormats formats = new ValueFormats(graph, weights);
        int maxTokens = chunk.choose(
                layout.bytes(),
                n -> activations.bytesFor(Rows.TOKENS, n) + work(n, rules, strict).bytes());
        return new Lowered(
                graph,
                List.copyOf(steps),
                layout,
                formats,
                List.copyOf(ropes.values()),
                Map.copyOf(selectSources),
                kvElements,
                graph.causal(),
                strict,
                maxTokens,
                work(maxTokens, rules, strict));
    }

    private Work work(int maxTokens, LaunchRules rules, boolean strict) {
        long counters = 4L * (64 * 1024);
        long attention = 0;
        for (Op.Attention a : graph.attentions()) {
            int groups = AttentionStep.headGroups(a);
            counters = Math.max(counters, 4L * maxTokens * groups);
            long blocks = 2L * rules.multiprocessors() + (long) maxTokens * groups;
            attention = Math.max(attention, 4 * blocks * AttentionRules.HEADS_PER_BLOCK * (a.headDim() + 2));
        }
        Value logits = graph.outputs().get(Graph.LOGITS);
        long sampler = logits == null ? 0 : 16L * logits.width() + 65536;
        long best = Format.roundUp(counters, 256);
        long samplerAt = best + 8L * LaunchRules.FEW * 4 * rules.multiprocessors();
        long layersAt = Format.roundUp(samplerAt + sampler, 256);
        long attentionAt = Format.roundUp(layersAt + LayerRules.workBytes(), 256);
        long productAt = Format.roundUp(attentionAt + attention + 256, 256);
        boolean exact = strict && multipliesFloats(graph, weights);
        long expandedAt = Format.roundUp(productAt + rules.productWork(exact), 256);
        long expanded = layout.copies().stream()
                .mapToLong(copy -> rules.expandedBytes(copy.target()))
                .max()
                .orElse(0);
        return new Work(0, best, samplerAt, layersAt, attentionAt, productAt, expandedAt, expandedAt + expanded);
    }

    /** Whether a linear map has float32 weights. */
    static boolean multipliesFloats(Graph graph, Weights weights) {
        return graph.nodes().stream()
                .flatMap(node -> linears(node).stream())
                .anyMatch(p -> weights.get(p.weight()).format() == WeightFormat.F32);
    }

    private static List<Op.Linear> linears(Node node) {
        return switch (node.op()) {
            case Op.Linear l -> List.of(l);
            case Op.FusedLinear f -> f.parts();
            default -> List.of();
        };
    }

    private Step step(Node node) {
        return switch (node.op()) {
            case Op.Embed e -> new RowSteps.Embedding(node, List.of(table(e)));
            case Op.EmbedSum sum -> {
                require(sum.parts().size() <= RowSteps.Embedding.MOST, "a sum of more than three embeddings");
                yield new RowSteps.Embedding(node, sum.parts().stream().map(this::table).toList());
            }
            case Op.Norm n -> new RowSteps.Normalization(node, norm(Optional.of(n)));
            case Op.Linear l -> linear(
                    node, new Op.FusedLinear(Optional.empty(), List.of(l), Optional.empty(), false, false));
            case Op.FusedLinear f -> linear(node, f);
            case Op.Rope r -> new RowSteps.Rotation(node, rope(Optional.of(r)));
            case Op.Attention a -> attention(node, a, Optional.empty(), Optional.empty(), Optional.empty());
            case Op.SelfAttention s -> {
                aloneReads(node);
                yield attention(node, s.attention(), s.qNorm(), s.kNorm(), s.rope());
            }
            case Op.Activation a -> new ElementStep(node, "activation", code(a.act()), -1);
            case Op.Gate g -> new ElementStep(node, "gate", code(g.act()), -1);
            case Op.Add a -> new ElementStep(node, "add", -1, -1);
            case Op.Permute p -> new ElementStep(
                    node, "permute", -1, layout.indices(weights.get(p.order()), node.output().width()));
            case Op.Select s -> {
                selectSources.put(node.output(), node.inputs().getFirst());
                yield new RowSteps.Selection(node);
            }
            case Op.Pool p -> new RowSteps.Pooling(node, p.pooling().ordinal());
        };
    }

    private RowSteps.Table table(Op.Embed e) {
        return new RowSteps.Table(e.index(), layout.matrix(weights.get(e.table())), e.offset());
    }

    private NormRef norm(Optional<Op.Norm> op) {
        if (op.isEmpty()) {
            return null;
        }
        Op.Norm n = op.get();
        float[] gain = weights.get(n.weight()).floats();
        long bias = n.bias().map(b -> layout.floats(weights.get(b).floats())).orElse(-1L);
        return new NormRef(layout.floats(gain), bias, n.epsilon(), n.kind().ordinal() + 1, gain.length);
    }

    private Step linear(Node node, Op.FusedLinear f) {
        List<Weight> all = f.parts().stream().map(p -> weights.get(p.weight())).toList();
        boolean oneFormat = all.stream().map(Weight::format).distinct().count() == 1;
        for (Weight w : all) {
            require(
                    Format.supported().contains(w.format()),
                    "a matrix product with " + w.format() + " weights (" + w.name() + ")");
        }
        List<LinearStep.Part> parts = new ArrayList<>();
        if (oneFormat) {
            parts.add(new LinearStep.Part(layout.matrix(all, f.gated()), bias(f.parts(), all, f.gated()), 0));
        } else {
            int column = 0;
            for (int i = 0; i < all.size(); i++) {
                List<Op.Linear> one = List.of(f.parts().get(i));
                List<Weight> weight = List.of(all.get(i));
                parts.add(new LinearStep.Part(layout.matrix(weight, false), bias(one, weight, false), column));
                column += f.gated() ? 0 : (int) all.get(i).shape().rows();
            }
        }
        activations.extra(LinearStep.OPERAND, node.output().rows(), 4L * Activations.ld(widestInput()));
        if (f.gated() && !oneFormat) {
            activations.extra(LinearStep.GATE, node.output().rows(), 4L * Activations.ld(widestGate()));
        }
        Value residual = f.residual() ? node.inputs().get(1) : null;
        int act = f.act().map(Lowering::code).orElse(-1);
        return new LinearStep(
                node, node.inputs().getFirst(), norm(f.norm()), List.copyOf(parts), act, f.gated(), residual);
    }

    /** Width of the widest input of any linear: one place serves them all. */
    private int widestInput() {
        return graph.nodes().stream()
                .filter(n -> n.op() instanceof Op.Linear || n.op() instanceof Op.FusedLinear)
                .mapToInt(n -> n.inputs().getFirst().width())
                .reduce(1, Math::max);
    }

    private int widestGate() {
        return graph.nodes().stream()
                .filter(n -> n.op() instanceof Op.FusedLinear f && f.gated())
                .mapToInt(n -> n.output().width())
                .reduce(1, Math::max);
    }

    /** The biases of all parts in the order of their rows; zero where a part has none, -1 where none has one. */
    private long bias(List<Op.Linear> parts, List<Weight> matrices, boolean interleaved) {
        if (parts.stream().allMatch(p -> p.bias().isEmpty())) {
            return -1;
        }
        int rows = matrices.stream().mapToInt(w -> (int) w.shape().rows()).sum();
        float[] all = new float[rows];
        int at = 0;
        for (int i = 0; i < parts.size(); i++) {
            int count = (int) matrices.get(i).shape().rows();
            if (parts.get(i).bias().isPresent()) {
                float[] one = weights.get(parts.get(i).bias().get()).floats();
                for (int r = 0; r < count; r++) {
                    all[interleaved ? r * parts.size() + i : at + r] = one[r];
                }
            }
            at += count;
        }
        return layout.floats(all);
    }

    private RopeRef rope(Optional<Op.Rope> op) {
        if (op.isEmpty()) {
            return null;
        }
        Op.Rope r = op.get();
        String key = "angles " + r.rotaryDim() + " " + r.frequencies();
        RopeRef.Table table = ropes.computeIfAbsent(
                key, k -> new RopeRef.Table(k, r.rotaryDim(), r.frequencies(), layout.doubles(inverse(r))));
        return new RopeRef(r.headDim(), r.interleaved(), table);
    }

    /** Radians per position; those of a short sequence where they depend on its length. */
    private static double[] inverse(Op.Rope r) {
        RopeFrequencies f = r.frequencies();
        return f.inverse(r.rotaryDim(), 1);
    }

    private Step attention(
            Node node, Op.Attention a, Optional<Op.Norm> qNorm, Optional<Op.Norm> kNorm, Optional<Op.Rope> rope) {
        require(a.headDim() <= AttentionRules.MOST_HEAD_DIM, "attention with heads of " + a.headDim() + " elements");
        return new AttentionStep(
                node, a, kvOffsets.getOrDefault(a.layer(), 0L), norm(qNorm), norm(kNorm), rope(rope));
    }

    /** Fused attention rotates q where it stands, so nobody else may read it. */
    private void aloneReads(Node node) {
        Set<String> others = new HashSet<>();
        for (Node other : graph.nodes()) {
            if (other != node && other.inputs().contains(node.inputs().getFirst())) {
                others.add(other.path());
            }
        }
        require(
                others.isEmpty() && !graph.outputs().containsValue(node.inputs().getFirst()),
                "fused attention over an input that " + (others.isEmpty() ? "is an output" : others + " reads too"));
    }

    private static int code(Act act) {
        return act.ordinal();
    }

    private static void require(boolean good, String what) {
        if (!good) {
            throw new MillraceException(what + " is not supported by executor " + CudaProvider.NAME);
        }
    }
}
