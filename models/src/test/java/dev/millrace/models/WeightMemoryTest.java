package dev.millrace.models;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.MemoryUse;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.Weights;
import dev.millrace.quant.WeightRequest;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What the SIMD executor holds of the embedded model's weights: each of them once, in the format that was asked for. */
class WeightMemoryTest {
    @ParameterizedTest
    @EnumSource(WeightRequest.class)
    void weightsAreHeldOnceAndTablesWhereTheFileHasThem(WeightRequest request) {
        try (Model model = Model.embedded();
                Executor executor = Executors.named("cpu-simd").open();
                Engine engine = Engine.open(model, executor, EngineOptions.DEFAULT.withWeights(request))) {
            MemoryUse memory = engine.program().memory();
            long laidOut = 0;
            long inFile = 0;
            Set<String> seen = new HashSet<>();
            for (Node node : engine.program().graph().nodes()) {
                for (Weight matrix : weights(matrices(node.op()), engine.weights(), seen)) {
                    laidOut += matrix.bytes();
                }
                for (Weight table : weights(tables(node.op()), engine.weights(), seen)) {
                    // one that is converted, since it is the head's matrix too, is no longer in the file
                    laidOut += table.segment().isPresent() ? 0 : table.bytes();
                    inFile += table.segment().isPresent() ? table.bytes() : 0;
                }
            }
            // panels are whole tiles of rows, and each has a header; vectors of norms and biases are small
            assertThat(memory.weights()).as("laid out").isBetween(laidOut, (long) (1.05 * laidOut));
            assertThat(memory.mapped()).as("in the file").isPositive().isEqualTo(inFile);
        }
    }

    private static List<Weight> weights(List<String> names, Weights weights, Set<String> seen) {
        return names.stream().filter(seen::add).map(weights::get).toList();
    }

    private static List<String> matrices(Op op) {
        return switch (op) {
            case Op.Linear l -> List.of(l.weight());
            case Op.FusedLinear f -> f.parts().stream().map(Op.Linear::weight).toList();
            default -> List.of();
        };
    }

    private static List<String> tables(Op op) {
        return switch (op) {
            case Op.Embed e -> List.of(e.table());
            case Op.EmbedSum sum -> sum.parts().stream().map(Op.Embed::table).toList();
            default -> List.of();
        };
    }
}
