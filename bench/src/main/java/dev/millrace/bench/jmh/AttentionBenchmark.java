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
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/**
 * Causal attention alone, {@value #LAYERS} layers with a cache each, so that keys and values come from memory and not
 * from a CPU's cache: one token after a context is a decode step, many without one a prompt.
 */
public class AttentionBenchmark extends GraphBenchmark {
    private static final int LAYERS = 16;

    /** Query heads / key and value heads x elements of a head: GPT-2 124M, Llama-3.2-1B, Llama-2-7B. */
    @Param({"12/12x64", "32/8x64", "32/32x128"})
    public String heads;

    @Param({"F32", "F16"})
    public KvFormat kv;

    /** New tokens after positions in the cache. */
    @Param({"1@1024", "512@0"})
    public String tokens;

    @Override
    public void open() {
        int[] shape = numbers(heads, 3);
        int[] step = numbers(tokens, 2);
        open(subject(shape[0], shape[1], shape[2]), step[0], step[1], kv);
    }

    private static int[] numbers(String text, int count) {
        String[] parts = text.split("[/x@]");
        if (parts.length != count) {
            throw new IllegalArgumentException("'" + text + "': write 32/8x64 for heads, 1@1024 for tokens");
        }
        int[] numbers = new int[count];
        for (int i = 0; i < count; i++) {
            numbers[i] = Integer.parseInt(parts[i]);
        }
        return numbers;
    }

    private static Subject subject(int heads, int kvHeads, int headDim) {
        Map<String, Weight> tables = new LinkedHashMap<>();
        int[] widths = {heads * headDim, kvHeads * headDim, kvHeads * headDim};
        for (int i = 0; i < widths.length; i++) {
            tables.put("qkv" + i, Views.random("qkv" + i, new Shape(16, widths[i]), WeightFormat.F32, i, 1f));
        }
        Weights weights = new Weights(tables);
        GraphBuilder builder = new GraphBuilder("attention", weights);
        Value[] qkv = new Value[widths.length];
        for (int i = 0; i < widths.length; i++) {
            qkv[i] = builder.add("embed." + i, new Op.Embed(Index.TOKEN, "qkv" + i, 0));
        }
        float scale = (float) (1 / Math.sqrt(headDim));
        for (int layer = 0; layer < LAYERS; layer++) {
            Op attention = new Op.Attention(layer, heads, kvHeads, headDim, scale, true, 0);
            qkv[0] = builder.add("attention." + layer, attention, qkv);
        }
        builder.output(Graph.LOGITS, qkv[0]);
        return new Subject(builder.build(), weights, WeightFormat.F32);
    }

    @Benchmark
    public void attention(Rate rate) {
        run(rate);
    }
}
