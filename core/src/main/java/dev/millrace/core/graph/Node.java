package dev.millrace.core.graph;

import java.util.List;

/**
 * One step of a graph.
 *
 * @param path the stable name used in errors, profiles and reports, such as {@code layer.3.attn.q}
 * @param op what to do
 * @param inputs activations it reads; empty for {@link Op.Embed}, which reads the batch
 * @param output the activation it writes
 * @param covers the paths of the unfused nodes this one stands for; just its own path when nothing was fused
 */
public record Node(String path, Op op, List<Value> inputs, Value output, List<String> covers) {
    public Node {
        inputs = List.copyOf(inputs);
        covers = List.copyOf(covers);
    }
}
