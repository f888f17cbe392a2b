package dev.millrace.models.verify;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.GraphBuilder;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.Weights;
import dev.millrace.quant.Views;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * One node as a graph of its own. Its inputs, known from the reference, are embedding tables, and the tokens 0, 1, 2, ...
 * look up their rows: so any executor can be given any activation without a door of its own for it.
 */
record OneOp(Graph graph, Weights weights, boolean usesTokens) {
    private static final String OUTPUT = "value";

    /**
     * @param inputs rows of each of the node's inputs, row after row
     * @param rows how many
     */
    static OneOp of(Node node, Weights model, List<float[]> inputs, int rows) {
        Map<String, Weight> weights = new LinkedHashMap<>();
        model.names().forEach(name -> weights.put(name, model.get(name)));
        for (int i = 0; i < inputs.size(); i++) {
            int width = node.inputs().get(i).width();
            weights.put(table(i), Views.of(table(i), new Shape(rows, width), inputs.get(i)));
        }
        Weights all = new Weights(weights);
        GraphBuilder builder = new GraphBuilder("one op", all);
        Map<Value, Value> fed = new HashMap<>();
        for (int i = 0; i < inputs.size(); i++) {
            String table = table(i);
            fed.computeIfAbsent(node.inputs().get(i),
                    value -> builder.add(table, new Op.Embed(Op.Index.TOKEN, table, 0)));
        }
        Value[] values = node.inputs().stream().map(fed::get).toArray(Value[]::new);
        builder.output(OUTPUT, builder.add(node.path(), inFirstLayer(node.op()), node.covers(), values));
        return new OneOp(builder.build(), all, inputs.isEmpty());
    }

    static String output() {
        return OUTPUT;
    }

    /** Whether tokens given one by one must give the same: not where a token sees, or counts, those of its slice. */
    boolean sameOneByOne() {
        if (graph.causal()) {
            return true;
        }
        return graph.nodes().stream().noneMatch(node -> switch (node.op()) {
            case Op.Embed e -> e.index() == Op.Index.POSITION;
            case Op.EmbedSum sum -> sum.parts().stream().anyMatch(part -> part.index() == Op.Index.POSITION);
            case Op.Rope r -> true;
            case Op.Attention a -> true;
            case Op.SelfAttention s -> true;
            case Op.Pool p -> true;
            default -> false;
        });
    }

    private static String table(int input) {
        return "verify.input." + input;
    }

    /** A graph with one attention has one cache: the first. */
    private static Op inFirstLayer(Op op) {
        return switch (op) {
            case Op.Attention a -> first(a);
            case Op.SelfAttention s -> new Op.SelfAttention(first(s.attention()), s.qNorm(), s.kNorm(), s.rope());
            default -> op;
        };
    }

    private static Op.Attention first(Op.Attention a) {
        return new Op.Attention(0, a.heads(), a.kvHeads(), a.headDim(), a.scale(), a.causal(), a.window());
    }
}
