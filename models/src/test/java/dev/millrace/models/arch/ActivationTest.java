package dev.millrace.models.arch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.GraphBuilder;
import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weights;
import dev.millrace.quant.Views;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.json.JsonMapper;

/** Activation functions by Hugging Face's names, from -9 to 9, on every executor. */
class ActivationTest {
    static Stream<Arguments> functions() {
        return Golden.expected("activations").keySet().stream()
                .filter(name -> !name.equals("x"))
                .flatMap(name -> Runs.EXECUTORS.stream().map(executor -> Arguments.of(name, executor)));
    }

    @ParameterizedTest(name = "{0} on {1}")
    @MethodSource("functions")
    void valuesAreThoseOfTransformers(String name, String executorName) {
        Map<String, Golden.Values> golden = Golden.expected("activations");
        double[] x = golden.get("x").data();
        double[] expected = golden.get(name).data();
        float[] table = new float[x.length];
        for (int i = 0; i < x.length; i++) {
            table[i] = (float) x[i];
        }
        String config = "{\"act\": \"" + name + "\"}";
        Act act = Acts.read(new Settings("config.json", JsonMapper.shared().readTree(config)), "act", "none");
        Weights weights = new Weights(Map.of("table", Views.of("table", new Shape(1, x.length), table)));
        GraphBuilder graph = new GraphBuilder("activation", weights);
        graph.output(
                Graph.HIDDEN,
                graph.add("act", new Op.Activation(act), graph.add("x", new Op.Embed(Op.Index.TOKEN, "table", 0))));
        try (Executor executor = Executors.named(executorName).provider().open(0, ExecutorOptions.DEFAULT);
                Program program = executor.compile(graph.build(), weights, CompileOptions.DEFAULT);
                Session session = program.newSession(1, KvFormat.F32)) {
            MemorySegment target = Golden.floats(x.length);
            Batch.Slice slice = new Batch.Slice(session, new int[] {0}, Batch.Rows.ALL);
            program.forward(new Batch(List.of(slice), Graph.HIDDEN), target);
            float[] found = Golden.array(target);
            for (int i = 0; i < x.length; i++) {
                assertThat((double) found[i])
                        .as("%s(%s)", name, x[i])
                        .isCloseTo(expected[i], within(2e-6 * Math.max(1, Math.abs(expected[i]))));
            }
        }
    }
}
