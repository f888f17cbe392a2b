package dev.millrace.cuda;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/** What has to run for one output of a graph. */
final class Pruning {
    private Pruning() {}

    /**
     * The steps that lead to {@code output}, or, where that is null, only to the caches. A norm over whole rows that
     * only one linear map then reads becomes part of it; as an output of its own it stood alone.
     */
    static List<Step> steps(Graph graph, List<Step> steps, Value output) {
        BitSet wanted = new BitSet();
        if (output != null) {
            wanted.set(output.id());
        }
        BitSet kept = new BitSet();
        for (int i = graph.nodes().size() - 1; i >= 0; i--) {
            Node node = graph.nodes().get(i);
            Op.Attention attention = Graph.attention(node.op());
            if (wanted.get(node.output().id()) || (attention != null && attention.causal())) {
                kept.set(i);
                node.inputs().forEach(v -> wanted.set(v.id()));
            }
        }
        List<Step> needed = new ArrayList<>(kept.stream().mapToObj(steps::get).toList());
        takeInNorms(needed, output);
        return List.copyOf(needed);
    }

    private static void takeInNorms(List<Step> steps, Value output) {
        for (int i = 0; i < steps.size(); i++) {
            if (!(steps.get(i) instanceof RowSteps.Normalization norm) || norm.node().output().equals(output)) {
                continue;
            }
            Value value = norm.node().output();
            List<Step> readers =
                    steps.stream().filter(s -> s.node().inputs().contains(value)).toList();
            if (norm.norm().group() == value.width()
                    && readers.size() == 1
                    && readers.getFirst() instanceof LinearStep linear
                    && linear.norm() == null
                    && !value.equals(linear.residual())) {
                steps.set(i, new RowSteps.TakenIn(norm.node()));
                steps.set(steps.indexOf(linear), linear.after(norm));
            }
        }
    }
}
