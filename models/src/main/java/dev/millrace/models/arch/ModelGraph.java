package dev.millrace.models.arch;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.tensor.Weights;
import java.util.List;

/**
 * A model ready to be compiled.
 *
 * @param weights views over the checkpoint, which must stay open as long as they are read
 * @param unused tensors of the checkpoint that the graph does not read, in the checkpoint's own names
 */
public record ModelGraph(ModelConfig config, Graph graph, Weights weights, List<String> unused) {
    public ModelGraph {
        unused = List.copyOf(unused);
    }
}
