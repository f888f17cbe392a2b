package dev.millrace.bench.jmh;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.GraphBuilder;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.Index;
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
 * Linear layers alone, in every weight format: {@value #LAYERS} matrices of {@value #WIDTH} x {@value #WIDTH} one after
 * the other, so that weights come from memory and not from a cache. For one token the figure is gigabytes of weights per
 * second beside the read roof; for many, operations per second beside the arithmetic roof.
 */
public class LinearBenchmark extends GraphBenchmark {
    private static final int WIDTH = 4096;
    private static final int LAYERS = 6;

    @Param({"F32", "F16", "BF16", "Q8_0", "Q4_0"})
    public WeightFormat format;

    @Param({"1", "512"})
    public int tokens;

    @Override
    public void open() {
        Map<String, Weight> all = new LinkedHashMap<>();
        all.put("table", Views.random("table", new Shape(16, WIDTH), WeightFormat.F32, 1, 1f));
        for (int i = 0; i < LAYERS; i++) {
            all.put("w" + i, Views.random("w" + i, new Shape(WIDTH, WIDTH), format, i, 1f / 64));
        }
        Weights weights = new Weights(all);
        GraphBuilder builder = new GraphBuilder("linear", weights);
        Value x = builder.add("embed", new Op.Embed(Index.TOKEN, "table", 0));
        for (int i = 0; i < LAYERS; i++) {
            x = builder.add("linear." + i, new Op.Linear("w" + i, Optional.empty()), x);
        }
        builder.output(Graph.LOGITS, x);
        open(new Subject(builder.build(), weights, format), tokens, 0, KvFormat.F32);
    }

    @Benchmark
    public void linear(Rate rate) {
        run(rate);
    }
}
