package dev.millrace.bench.measure;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.profile.OpCost;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The least time a step can take on a device: for every node the longer of its bytes over the read bandwidth and its
 * operations over the rate of the unit that does them (Williams et al., 2009), added up.
 */
public final class Roofline {
    private final Graph graph;
    private final Weights weights;
    private final Roofs roofs;
    private final WeightFormat main;

    public Roofline(Graph graph, Weights weights, Roofs roofs) {
        this.graph = graph;
        this.weights = weights;
        this.roofs = roofs;
        this.main = mainFormat(graph, weights);
    }

    /** Which limit a node or a step runs into. */
    public enum Bound {
        memory,
        compute,
        /** Neither: even at both limits it would take less time than handing it to the device does. */
        latency
    }

    /** The least seconds of a node or step, and what binds it. */
    public record Least(double seconds, double memorySeconds, double computeSeconds) {
        public Bound bound() {
            return memorySeconds >= computeSeconds ? Bound.memory : Bound.compute;
        }

        Least plus(Least more) {
            return new Least(
                    seconds + more.seconds, memorySeconds + more.memorySeconds, computeSeconds + more.computeSeconds);
        }
    }

    /** The least time of {@code node} when memory gives {@code read} bytes per second. */
    public Least of(Node node, OpCost cost, double read) {
        double memory = cost.streamedBytes() / read;
        double compute = cost.flops() / rate(node.op());
        return new Least(Math.max(memory, compute), memory, compute);
    }

    /** The least time of a whole step. */
    public Least of(String output, OpCost.Step step, double read) {
        Least sum = new Least(0, 0, 0);
        for (Node node : graph.nodesFor(output)) {
            sum = sum.plus(of(node, OpCost.of(node, weights, step), read));
        }
        return sum;
    }

    /** The format that most bytes of the linear layers are in. */
    public WeightFormat mainFormat() {
        return main;
    }

    private double rate(Op op) {
        return switch (op) {
            case Op.Linear l -> roofs.compute(weights.get(l.weight()).format());
            case Op.FusedLinear f -> roofs.compute(weights.get(f.parts().getFirst().weight()).format());
            case Op.Attention a -> roofs.compute(main);
            case Op.SelfAttention s -> roofs.compute(main);
            default -> roofs.fma();
        };
    }

    static WeightFormat mainFormat(Graph graph, Weights weights) {
        Map<WeightFormat, Long> bytes = new HashMap<>();
        for (Node node : graph.nodes()) {
            List<Op.Linear> parts =
                    switch (node.op()) {
                        case Op.Linear l -> List.of(l);
                        case Op.FusedLinear f -> f.parts();
                        default -> List.of();
                    };
            parts.forEach(p -> bytes.merge(weights.get(p.weight()).format(), weights.get(p.weight()).bytes(), Long::sum));
        }
        return bytes.entrySet().stream()
                .max(Comparator.comparingLong(Map.Entry::getValue))
                .map(Map.Entry::getKey)
                .orElse(WeightFormat.F32);
    }
}
