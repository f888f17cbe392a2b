package dev.millrace.core.graph.pass;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/** Who makes and who reads each activation of a graph. */
final class Uses {
    private final Map<Value, Node> producers = new HashMap<>();
    private final Map<Value, List<Node>> consumers = new HashMap<>();
    private final Graph graph;

    Uses(Graph graph) {
        this.graph = graph;
        for (Node node : graph.nodes()) {
            producers.put(node.output(), node);
            for (Value input : node.inputs()) {
                consumers.computeIfAbsent(input, v -> new ArrayList<>()).add(node);
            }
        }
    }

    Node producer(Value value) {
        return producers.get(value);
    }

    /** Whether the node's output is read by one other node, once, and is not given out. */
    boolean once(Node node) {
        return consumers.getOrDefault(node.output(), List.of()).size() == 1
                && !graph.outputs().containsValue(node.output());
    }

    /** Whether the node's output is read, is not given out, and all its readers are like that. */
    boolean onlyBy(Node node, Predicate<Node> reader) {
        List<Node> readers = consumers.getOrDefault(node.output(), List.of());
        return !readers.isEmpty() && readers.stream().allMatch(reader) && !graph.outputs().containsValue(node.output());
    }

    boolean consumedByAdd(Node node) {
        return once(node) && consumers.get(node.output()).getFirst().op() instanceof Op.Add;
    }
}
