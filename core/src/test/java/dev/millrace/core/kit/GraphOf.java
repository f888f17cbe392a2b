package dev.millrace.core.kit;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.GraphBuilder;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.Index;
import dev.millrace.core.graph.Value;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;

/**
 * Small graphs with random weights. Activations of any width come from looking tokens up in random tables, so an op can
 * be tried alone.
 */
public final class GraphOf {
    /** Tokens that every kit graph knows. */
    public static final int VOCABULARY = 53;

    private final Map<String, Weight> weights = new LinkedHashMap<>();
    private final Random random;
    private final List<Pending> nodes = new ArrayList<>();
    private GraphBuilder builder;
    private int names;

    public GraphOf(long seed) {
        this.random = new Random(seed);
    }

    private record Pending(String path, Op op, Value[] inputs) {}

    /** A graph with the weights it was built from. */
    public record Built(Graph graph, Weights weights) {}

    /** Adds a random matrix and returns its name. */
    public String matrix(int rows, int columns, WeightFormat format) {
        String name = "w" + names++;
        put(KitWeight.random(name, new Shape(rows, columns), format, 1 / Math.sqrt(columns), random));
        return name;
    }

    /** Adds a random float32 vector around {@code mean} and returns its name. */
    public String vector(int length, double mean) {
        float[] x = new float[length];
        for (int i = 0; i < length; i++) {
            x[i] = (float) (mean + 0.3 * random.nextGaussian());
        }
        return vector(x);
    }

    public String vector(float... elements) {
        String name = "v" + names++;
        put(KitWeight.of(name, Shape.vector(elements.length), elements));
        return name;
    }

    private void put(Weight weight) {
        weights.put(weight.name(), weight);
    }

    /** Adds a node; the graph is built anew with the weights added so far. */
    public Value add(String path, Op op, Value... inputs) {
        nodes.add(new Pending(path, op, inputs));
        builder = new GraphBuilder("kit", new Weights(weights));
        Value last = null;
        for (Pending node : nodes) {
            last = builder.add(node.path, node.op, node.inputs);
        }
        return last;
    }

    /** A random activation of that width: one row per token. */
    public Value input(int width) {
        String table = "t" + names++;
        put(KitWeight.random(table, new Shape(VOCABULARY, width), WeightFormat.F32, 1, random));
        return add("input." + table, new Op.Embed(Index.TOKEN, table, 0));
    }

    public Op.Linear linear(int out, int in, WeightFormat format, boolean bias) {
        return new Op.Linear(matrix(out, in, format), bias ? Optional.of(vector(out, 0)) : Optional.empty());
    }

    public Op.Norm norm(Op.NormKind kind, int width) {
        Optional<String> bias = kind == Op.NormKind.LAYER ? Optional.of(vector(width, 0)) : Optional.empty();
        return new Op.Norm(kind, vector(width, 1), bias, 1e-5f);
    }

    /** Ends the graph; {@code value} is its logits. */
    public Built done(Value value) {
        builder.output(Graph.LOGITS, value);
        return new Built(builder.build(), new Weights(weights));
    }
}
