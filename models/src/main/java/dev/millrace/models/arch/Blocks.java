package dev.millrace.models.arch;

import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.GraphBuilder;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.tensor.Weights;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Adds nodes whose weights are named by their paths; the words architectures are written in. */
final class Blocks {
    private record Permuted(Value input, int[] order, Value output) {}

    private final GraphBuilder graph;
    private final Weights weights;
    private final Map<String, int[]> orders;
    private final List<Permuted> permuted = new ArrayList<>();

    Blocks(String name, Weights weights, Map<String, int[]> orders) {
        this.graph = new GraphBuilder(name, weights);
        this.weights = weights;
        this.orders = orders;
    }

    Graph build() {
        return graph.build();
    }

    void output(String name, Value value) {
        graph.output(name, value);
    }

    /** Whether the path has a weight. */
    boolean has(String path) {
        return weights.has(path + ".weight");
    }

    Value embed(String path, Op.Index index, int offset) {
        return graph.add(path, new Op.Embed(index, path + ".weight", offset));
    }

    Value norm(String path, Op.NormKind kind, float epsilon, Value x) {
        return graph.add(path, new Op.Norm(kind, path + ".weight", bias(path), epsilon), x);
    }

    /** A linear layer; where its weight's columns are in another order, its input is permuted, once for all that share it. */
    Value linear(String path, Value x) {
        int[] order = orders.get(path);
        Value input = order == null ? x : permuted(path, order, x);
        return graph.add(path, new Op.Linear(path + ".weight", bias(path)), input);
    }

    private Value permuted(String path, int[] order, Value x) {
        for (Permuted p : permuted) {
            if (p.input().equals(x) && Arrays.equals(p.order(), order)) {
                return p.output();
            }
        }
        Value y = graph.add(path + ".permute", new Op.Permute(path + ".order"), x);
        permuted.add(new Permuted(x, order, y));
        return y;
    }

    Value rope(String path, Op.Rope rope, Value x) {
        return graph.add(path, rope, x);
    }

    Value attention(String path, Op.Attention attention, Value q, Value k, Value v) {
        return graph.add(path, attention, q, k, v);
    }

    Value activation(String path, Act act, Value x) {
        return graph.add(path, new Op.Activation(act), x);
    }

    Value gate(String path, Act act, Value gate, Value up) {
        return graph.add(path, new Op.Gate(act), gate, up);
    }

    Value add(String path, Value a, Value b) {
        return graph.add(path, new Op.Add(), a, b);
    }

    Value select(String path, Value x) {
        return graph.add(path, new Op.Select(), x);
    }

    Value pool(String path, Op.Pooling pooling, Value x) {
        return graph.add(path, new Op.Pool(pooling), x);
    }

    private Optional<String> bias(String path) {
        return Optional.of(path + ".bias").filter(weights::has);
    }
}
