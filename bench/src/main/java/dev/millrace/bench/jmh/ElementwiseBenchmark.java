package dev.millrace.bench.jmh;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.GraphBuilder;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.Index;
import dev.millrace.core.graph.Op.NormKind;
import dev.millrace.core.graph.RopeFrequencies;
import dev.millrace.core.graph.Value;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import dev.millrace.quant.Views;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/**
 * Norms, activations, rotation and sums alone: {@value #LAYERS} of a kind, one after the other, on rows of {@value
 * #WIDTH}. What they stream is activations, so they are judged by operations a second and by each other.
 */
public class ElementwiseBenchmark extends GraphBenchmark {
    private static final int WIDTH = 2048;
    private static final int HEAD_DIM = 64;
    private static final int LAYERS = 16;
    private static final float EPSILON = 1e-5f;

    /** The op that is repeated. */
    public enum Kernel {
        LAYER_NORM,
        RMS_NORM,
        GELU,
        GELU_TANH,
        SILU,
        SILU_GATE,
        ROPE,
        ADD
    }

    @Param
    public Kernel kernel;

    @Param({"1", "512"})
    public int tokens;

    @Override
    public void open() {
        Map<String, Weight> tables = new LinkedHashMap<>();
        tables.put("table", Views.random("table", new Shape(16, WIDTH), WeightFormat.F32, 1, 1f));
        tables.put("gain", Views.random("gain", Shape.vector(WIDTH), WeightFormat.F32, 2, 1f));
        Weights weights = new Weights(tables);
        GraphBuilder builder = new GraphBuilder("elementwise", weights);
        Value first = builder.add("embed", new Op.Embed(Index.TOKEN, "table", 0));
        Value x = first;
        for (int i = 0; i < LAYERS; i++) {
            Op op = op();
            boolean two = op instanceof Op.Gate || op instanceof Op.Add;
            x = two ? builder.add("op." + i, op, x, first) : builder.add("op." + i, op, x);
        }
        builder.output(Graph.LOGITS, x);
        open(new Subject(builder.build(), weights, WeightFormat.F32), tokens, 0, KvFormat.F32);
    }

    private Op op() {
        return switch (kernel) {
            case LAYER_NORM -> new Op.Norm(NormKind.LAYER, "gain", Optional.empty(), EPSILON);
            case RMS_NORM -> new Op.Norm(NormKind.RMS, "gain", Optional.empty(), EPSILON);
            case GELU -> new Op.Activation(Act.GELU);
            case GELU_TANH -> new Op.Activation(Act.GELU_TANH);
            case SILU -> new Op.Activation(Act.SILU);
            case SILU_GATE -> new Op.Gate(Act.SILU);
            case ROPE -> new Op.Rope(
                    HEAD_DIM, HEAD_DIM, false, new RopeFrequencies(10000, new RopeFrequencies.Plain()));
            case ADD -> new Op.Add();
        };
    }

    @Benchmark
    public void elementwise(Rate rate) {
        run(rate);
    }
}
