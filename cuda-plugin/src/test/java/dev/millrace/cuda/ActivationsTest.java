package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Support;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.pass.Fusion;
import dev.millrace.core.kit.GraphOf;
import dev.millrace.core.kit.KitModels;
import dev.millrace.core.tensor.WeightFormat;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ActivationsTest {
    /** Runs the graph on paper: whoever reads an activation must find there what was written. */
    @Test
    void whatANodeReadsHasNotBeenOverwritten() {
        for (Graph graph : graphs()) {
            Activations activations = new Activations(null, graph);
            Map<String, Map<Long, Value>> memory = new HashMap<>();
            Map<Value, Value> selected = new HashMap<>();
            for (Node node : graph.nodes()) {
                List<Value> read = new ArrayList<>(node.inputs());
                node.inputs().stream().filter(selected::containsKey).map(selected::get).forEach(read::add);
                if (node.op() instanceof Op.Select) {
                    selected.put(node.output(), node.inputs().getFirst()); // it may stand for its input
                }
                for (Value input : read) {
                    for (long at = activations.place(input); at < activations.end(input); at += 256) {
                        assertThat(memory.get(input.rows().name()).get(at))
                                .as(node.path() + " reads " + input)
                                .isEqualTo(input);
                    }
                }
                Value output = node.output();
                Map<Long, Value> piece = memory.computeIfAbsent(output.rows().name(), r -> new HashMap<>());
                for (long at = activations.place(output); at < activations.end(output); at += 256) {
                    piece.put(at, output);
                }
            }
        }
    }

    private static List<Graph> graphs() {
        List<Graph> graphs = new ArrayList<>();
        for (GraphOf.Built built : List.of(KitModels.gpt(WeightFormat.F32), KitModels.llama(WeightFormat.F32))) {
            graphs.add(built.graph());
            graphs.add(Fusion.apply(built.graph(), built.weights(), op -> Support.YES));
        }
        return graphs;
    }

    @Test
    void activationsThatDoNotMeetShareSpace() {
        Graph graph = KitModels.llama(WeightFormat.F32).graph();
        Activations activations = new Activations(null, graph);
        long separate = graph.nodes().stream()
                .map(Node::output)
                .filter(v -> v.rows() == Value.Rows.TOKENS)
                .mapToLong(v -> activations.end(v) - activations.place(v))
                .sum();
        assertThat(activations.bytesFor(Value.Rows.TOKENS, 128)).isLessThan(128 * separate / 3);
    }

    @Test
    void rowsOfFewAreNotRoundedUpToATile() {
        Graph graph = KitModels.gpt(WeightFormat.F32).graph();
        Activations activations = new Activations(null, graph);
        assertThat(activations.bytesFor(Value.Rows.TOKENS, 1)).isEqualTo(activations.bytesFor(Value.Rows.TOKENS, 8));
        assertThat(activations.bytesFor(Value.Rows.TOKENS, 9)).isEqualTo(activations.bytesFor(Value.Rows.TOKENS, 128));
        assertThat(activations.bytesFor(Value.Rows.TOKENS, 129)).isEqualTo(activations.bytesFor(Value.Rows.TOKENS, 256));
    }
}
