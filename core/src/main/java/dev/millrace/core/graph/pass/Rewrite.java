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
import java.util.stream.Collectors;

/** Replaces groups of nodes by others and builds the graph anew. */
final class Rewrite {
    private Rewrite() {}

    /** A node to put in; its inputs are activations of the old graph, or {@link #PREVIOUS}. */
    record Piece(String path, Op op, List<Value> inputs, List<String> covers) {
        /** The output of the piece before. */
        static final Value PREVIOUS = new Value(-1, 1, Value.Rows.TOKENS);
    }

    /** {@code pieces} take the place of {@code consumed}, where {@code anchor} stood; the last gives anchor's output. */
    record Match(Node anchor, List<Node> consumed, List<Piece> pieces) {}

    static Match match(Node anchor, List<Node> consumed, Piece... pieces) {
        return new Match(anchor, consumed, List.of(pieces));
    }

    /** Applies the matches; of two that want the same node, the first wins. */
    static Graph apply(Graph graph, Weights weights, List<Match> matches) {
        Map<Node, Match> anchors = new HashMap<>();
        Set<Node> gone = new HashSet<>();
        for (Match match : matches) {
            if (match.consumed().stream().noneMatch(gone::contains)) {
                anchors.put(match.anchor(), match);
                gone.addAll(match.consumed());
            }
        }
        GraphBuilder builder = new GraphBuilder(graph.name(), weights);
        Map<Value, Value> renewed = new LinkedHashMap<>();
        for (Node node : graph.nodes()) {
            Match match = anchors.get(node);
            if (match != null) {
                for (Piece piece : match.pieces()) {
                    Value value = builder.add(piece.path(), piece.op(), piece.covers(), map(renewed, piece.inputs()));
                    renewed.put(Piece.PREVIOUS, value);
                }
                renewed.put(node.output(), renewed.get(Piece.PREVIOUS));
            } else if (!gone.contains(node)) {
                renewed.put(node.output(), builder.add(node.path(), node.op(), node.covers(), map(renewed, node.inputs())));
            }
        }
        graph.outputs().forEach((name, value) -> builder.output(name, renewed.get(value)));
        return builder.build();
    }

    private static Value[] map(Map<Value, Value> renewed, List<Value> values) {
        return values.stream().map(renewed::get).toArray(Value[]::new);
    }

    static List<String> covers(List<Node> nodes) {
        return nodes.stream().flatMap(n -> n.covers().stream()).toList();
    }

    /** One path for several: {@code layer.0.attn.qkv} for its q, k and v, {@code layer.0.mlp.gate_up} for gate and up. */
    static String joined(List<Node> nodes) {
        String first = nodes.getFirst().path();
        if (nodes.size() == 1) {
            return first;
        }
        List<String> names = nodes.stream().map(n -> n.path().substring(n.path().lastIndexOf('.') + 1)).toList();
        String separator = names.stream().allMatch(n -> n.length() == 1) ? "" : "_";
        return first.substring(0, first.lastIndexOf('.') + 1) + names.stream().collect(Collectors.joining(separator));
    }
}
