package dev.millrace.core.graph;

import dev.millrace.core.MillraceException;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A transformer as data: nodes in the order of execution, and the activations it can give out by name ({@value #LOGITS},
 * {@value #HIDDEN}, {@value #POOLED}).
 */
public record Graph(String name, List<Node> nodes, Map<String, Value> outputs) {
    /** Scores over the vocabulary (decoders) or over the labels (classifiers). */
    public static final String LOGITS = "logits";
    /** The last layer's activation, after the final norm where the architecture has one. */
    public static final String HIDDEN = "last_hidden_state";
    /** One vector per sequence. */
    public static final String POOLED = "pooled";

    public Graph {
        nodes = List.copyOf(nodes);
        outputs = java.util.Collections.unmodifiableMap(new LinkedHashMap<>(outputs));
    }

    /**
     * The activation given out under that name.
     *
     * @throws MillraceException when the graph has no such output; the message lists those it has
     */
    public Value output(String output) {
        Value value = outputs.get(output);
        if (value == null) {
            throw new MillraceException(name + " gives no output " + output + "; it gives " + outputs.keySet());
        }
        return value;
    }

    /** The nodes that {@code output} needs, in order; causal attention is always among them, for its cache. */
    public List<Node> nodesFor(String output) {
        BitSet needed = new BitSet();
        needed.set(output(output).id());
        List<Node> kept = new ArrayList<>();
        for (Node node : nodes.reversed()) {
            if (needed.get(node.output().id()) || writesCache(node.op())) {
                node.inputs().forEach(value -> needed.set(value.id()));
                kept.add(node);
            }
        }
        return kept.reversed();
    }

    private static boolean writesCache(Op op) {
        return attention(op) != null && attention(op).causal();
    }

    /** The attention in {@code op}, fused or not; null where there is none. */
    public static Op.Attention attention(Op op) {
        return switch (op) {
            case Op.Attention a -> a;
            case Op.SelfAttention s -> s.attention();
            default -> null;
        };
    }

    /** Whether tokens see only earlier ones, so that sequences grow; false for encoders. */
    public boolean causal() {
        return attentions().stream().anyMatch(Op.Attention::causal);
    }

    /** Every attention of the graph, in order. */
    public List<Op.Attention> attentions() {
        return nodes.stream().map(n -> attention(n.op())).filter(a -> a != null).toList();
    }
}
