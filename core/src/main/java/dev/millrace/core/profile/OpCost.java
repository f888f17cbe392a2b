package dev.millrace.core.profile;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value.Rows;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.Weights;
import java.util.Optional;

/**
 * The least work a node takes: what any executor must at least stream and compute. The same for every device, so that
 * devices can be compared.
 *
 * @param weightBytes weights read once, in the format they are compiled in; of an embedding table, the rows looked up
 * @param cacheBytes keys and values read and written; each key/value head is read once per token of a decode step, once
 *     per forward of several tokens
 * @param activationBytes inputs read and output written, float32
 * @param flops additions and multiplications, a multiply-add counting two; exp, tanh and the like count one
 */
public record OpCost(long weightBytes, long cacheBytes, long activationBytes, long flops) {

    /**
     * What a forward processes.
     *
     * @param sequences slices in the batch, each of {@code tokens} tokens
     * @param tokens tokens of each sequence
     * @param wanted rows of output wanted from each
     * @param context positions already in each sequence's cache
     */
    public record Step(int sequences, int tokens, int wanted, int context, KvFormat kv) {
        long rows(Rows rows) {
            return switch (rows) {
                case TOKENS -> (long) sequences * tokens;
                case SELECTED -> (long) sequences * wanted;
                case SEQUENCES -> sequences;
            };
        }
    }

    /** Bytes that must come from memory when activations stay in caches. */
    public long streamedBytes() {
        return weightBytes + cacheBytes;
    }

    public OpCost plus(OpCost more) {
        return new OpCost(
                weightBytes + more.weightBytes,
                cacheBytes + more.cacheBytes,
                activationBytes + more.activationBytes,
                flops + more.flops);
    }

    /** The cost of {@code node} in {@code step}. */
    public static OpCost of(Node node, Weights weights, Step step) {
        long rows = step.rows(node.output().rows());
        long out = rows * node.output().width();
        long activations = out * Float.BYTES;
        for (var input : node.inputs()) {
            activations += step.rows(input.rows()) * input.width() * Float.BYTES;
        }
        OpCost cost = of(node.op(), node, weights, step, rows, out);
        return new OpCost(cost.weightBytes, cost.cacheBytes, activations, cost.flops);
    }

    private static OpCost of(Op op, Node node, Weights weights, Step step, long rows, long out) {
        return switch (op) {
            case Op.Embed e -> embed(e, weights, rows);
            case Op.EmbedSum sum -> sum.parts().stream()
                    .map(e -> embed(e, weights, rows))
                    .reduce(new OpCost(0, 0, 0, (sum.parts().size() - 1) * out), OpCost::plus);
            case Op.Norm n -> norm(n, weights, out);
            case Op.Linear l -> linear(l, weights, rows);
            case Op.FusedLinear f -> {
                OpCost cost = new OpCost(0, 0, 0, f.residual() ? out : 0);
                for (Op.Linear part : f.parts()) {
                    cost = cost.plus(linear(part, weights, rows));
                }
                if (f.norm().isPresent()) {
                    cost = cost.plus(norm(f.norm().get(), weights, rows * node.inputs().getFirst().width()));
                }
                yield cost.plus(elementwise(f.act().isPresent() ? (f.gated() ? 6 : 5) * out : 0));
            }
            case Op.Rope r -> elementwise(3 * out);
            case Op.Attention a -> attention(a, step);
            case Op.SelfAttention s -> {
                long q = step.rows(Rows.TOKENS) * s.attention().heads() * s.attention().headDim();
                long k = step.rows(Rows.TOKENS) * s.attention().kvHeads() * s.attention().headDim();
                OpCost cost = attention(s.attention(), step);
                cost = cost.plus(elementwise(s.rope().isPresent() ? 3 * (q + k) : 0));
                cost = s.qNorm().isPresent() ? cost.plus(norm(s.qNorm().get(), weights, q)) : cost;
                yield s.kNorm().isPresent() ? cost.plus(norm(s.kNorm().get(), weights, k)) : cost;
            }
            case Op.Activation a -> elementwise(5 * out);
            case Op.Gate g -> elementwise(6 * out);
            case Op.Add a -> elementwise(out);
            case Op.Permute p -> new OpCost(Integer.BYTES * (long) node.output().width(), 0, 0, 0);
            case Op.Select s -> elementwise(0);
            case Op.Pool p -> elementwise(step.rows(Rows.TOKENS) * node.output().width());
        };
    }

    private static OpCost elementwise(long flops) {
        return new OpCost(0, 0, 0, flops);
    }

    private static OpCost embed(Op.Embed e, Weights weights, long rows) {
        Weight table = weights.get(e.table());
        return new OpCost(rows * table.format().rowBytes(table.shape().columns()), 0, 0, 0);
    }

    private static OpCost norm(Op.Norm n, Weights weights, long elements) {
        return new OpCost(bytes(weights, Optional.of(n.weight())) + bytes(weights, n.bias()), 0, 0, 6 * elements);
    }

    private static OpCost linear(Op.Linear l, Weights weights, long rows) {
        Weight w = weights.get(l.weight());
        return new OpCost(w.bytes() + bytes(weights, l.bias()), 0, 0, rows * (2 * w.shape().elements()));
    }

    /** Vectors are kept as float32 whatever the checkpoint holds. */
    private static long bytes(Weights weights, Optional<String> vector) {
        return vector.map(v -> weights.get(v).shape().elements() * Float.BYTES).orElse(0L);
    }

    private static OpCost attention(Op.Attention a, Step step) {
        long pairs = 0;
        for (int i = 0; i < step.tokens(); i++) {
            long seen = a.causal() ? step.context() + i + 1L : step.tokens();
            pairs += a.window() > 0 ? Math.min(seen, a.window()) : seen;
        }
        long visible = a.causal() ? step.context() : 0;
        long read = a.window() > 0 ? Math.min(visible, a.window() - 1L) : visible;
        long written = a.causal() ? step.tokens() : 0;
        long cache = 2L * a.kvHeads() * a.headDim() * step.kv().bytes() * (read + written) * step.sequences();
        return new OpCost(0, cache, 0, step.sequences() * pairs * a.heads() * (4L * a.headDim() + 4));
    }

    /** The cost of a whole graph's output. */
    public static OpCost of(Graph graph, String output, Weights weights, Step step) {
        OpCost sum = new OpCost(0, 0, 0, 0);
        for (Node node : graph.nodesFor(output)) {
            sum = sum.plus(of(node, weights, step));
        }
        return sum;
    }
}
