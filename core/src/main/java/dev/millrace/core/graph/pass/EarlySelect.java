package dev.millrace.core.graph.pass;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.GraphBuilder;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.tensor.Weights;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Moves {@link Op.Select} up through nodes that treat each row alone: what the last layer makes of rows that nobody asked
 * for after its attention is not computed. Where one Select becomes several, the first keeps its path and stands for it.
 */
final class EarlySelect {
    private final Graph graph;
    private final GraphBuilder builder;
    private final Map<Value, Value> renewed = new LinkedHashMap<>();
    private final Map<Value, Value> selected = new HashMap<>();
    private final Set<Node> moved = new HashSet<>();
    private final Node select;

    private EarlySelect(Graph graph, Weights weights, Node select) {
        this.graph = graph;
        this.builder = new GraphBuilder(graph.name(), weights);
        this.select = select;
    }

    /** The same graph where there is nothing to move, or more than one Select. */
    static Graph apply(Graph graph, Weights weights) {
        List<Node> selects = graph.nodes().stream().filter(n -> n.op() instanceof Op.Select).toList();
        return selects.size() == 1 ? new EarlySelect(graph, weights, selects.getFirst()).run() : graph;
    }

    private Graph run() {
        Uses uses = new Uses(graph);
        for (Node node : graph.nodes().reversed()) {
            if (treatsRowsAlone(node.op()) && uses.onlyBy(node, reader -> reader == select || moved.contains(reader))) {
                moved.add(node);
            }
        }
        if (moved.isEmpty()) {
            return graph;
        }
        for (Node node : graph.nodes()) {
            if (node == select) {
                renewed.put(node.output(), renewed.get(node.inputs().getFirst()));
            } else {
                Value[] inputs = node.inputs().stream()
                        .map(v -> moved.contains(node) && !moved.contains(uses.producer(v)) ? wanted(v) : renewed.get(v))
                        .toArray(Value[]::new);
                renewed.put(node.output(), builder.add(node.path(), node.op(), node.covers(), inputs));
            }
        }
        graph.outputs().forEach((name, value) -> builder.output(name, renewed.get(value)));
        return builder.build();
    }

    /** The rows of {@code value} that were asked for. */
    private Value wanted(Value value) {
        return selected.computeIfAbsent(value, v -> {
            boolean first = selected.isEmpty();
            String path = first ? select.path() : select.path() + "." + (selected.size() + 1);
            return builder.add(path, select.op(), first ? select.covers() : List.of(), renewed.get(v));
        });
    }

    private static boolean treatsRowsAlone(Op op) {
        return switch (op) {
            case Op.Norm n -> true;
            case Op.Linear l -> true;
            case Op.FusedLinear f -> true;
            case Op.Activation a -> true;
            case Op.Gate g -> true;
            case Op.Add a -> true;
            case Op.Permute p -> true;
            case Op.Embed e -> false;
            case Op.EmbedSum s -> false;
            case Op.Rope r -> false;
            case Op.Attention a -> false;
            case Op.SelfAttention s -> false;
            case Op.Select s -> false;
            case Op.Pool p -> false;
        };
    }
}
