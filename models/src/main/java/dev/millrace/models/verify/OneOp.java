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
import java.util.stream.IntStream;

/**
 * One node as a graph of its own. Its inputs, known from the reference, are embedding tables, and the tokens 0, 1, 2, ...
 * look up their rows: so any executor can be given any activation without a door of its own for it.
 */
record OneOp(Graph graph, Weights weights, int[] tokens) {
    private static final String OUTPUT = "value";

    /**
     * @param tokens what the whole model is given; a node without inputs reads them
     * @param inputs each of the node's inputs, row after row
     */
    static OneOp of(Node node, Weights model, int[] tokens, List<float[]> inputs) {
        Map<String, Weight> weights = new LinkedHashMap<>();
        model.names().forEach(name -> weights.put(name, model.get(name)));
        for (int i = 0; i < inputs.size(); i++) {
            int width = node.inputs().get(i).width();
            Shape shape = new Shape(inputs.get(i).length / width, width);
            weights.put(table(i), Views.of(table(i), shape, inputs.get(i)));
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
        if (inputs.isEmpty()) {
            return new OneOp(builder.build(), all, tokens);
        }
        int rows = inputs.getFirst().length / node.inputs().getFirst().width();
        return new OneOp(builder.build(), all, IntStream.range(0, rows).toArray());
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
