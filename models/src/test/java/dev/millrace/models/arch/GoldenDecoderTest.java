package dev.millrace.models.arch;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.RopeFrequencies.Dynamic;
import dev.millrace.core.tensor.WeightFormat;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Every decoder of the golden values, on every executor: logits, greedy tokens, chunks, batches. */
class GoldenDecoderTest {
    private static final int CHUNK = 7;

    static Stream<Arguments> decoders() throws IOException {
        return cross(goldens("greedy_ids"));
    }

    static Stream<Arguments> gptq() throws IOException {
        return cross(goldens("greedy_ids").filter(name -> name.contains("gptq")));
    }

    private static Stream<Arguments> cross(Stream<String> names) {
        return names.flatMap(name -> Runs.EXECUTORS.stream().map(executor -> Arguments.of(name, executor)));
    }

    /** Folders with a model whose expected values hold {@code tensor}. */
    static Stream<String> goldens(String tensor) throws IOException {
        try (Stream<Path> folders = Files.list(Golden.folder(""))) {
            List<String> names = folders.filter(folder -> Files.exists(folder.resolve("config.json")))
                    .map(folder -> folder.getFileName().toString())
                    .filter(name -> Golden.expected(name).containsKey(tensor))
                    .sorted()
                    .toList();
            return names.stream();
        }
    }

    private static double tolerance(String name) {
        return name.startsWith("gpt2") ? 1e-5 : 2e-5;
    }

    @ParameterizedTest(name = "{0} on {1}")
    @MethodSource("decoders")
    void logitsAndGreedyTokensAreThoseOfTransformers(String name, String executor) {
        Map<String, Golden.Values> expected = Golden.expected(name);
        Golden.Values ids = expected.get("input_ids");
        Golden.Values logits = expected.get("logits");
        try (Runs run = Runs.open(name, executor)) {
            int size = logits.dims()[1] * logits.dims()[2];
            for (int row = 0; row < ids.rows(); row++) {
                float[] found = run.rows(Graph.LOGITS, ids.row(row), null);
                assertThat(Golden.relative(found, logits.data(), row * size, size))
                        .as("relative L2 of the logits of row %d", row)
                        .isLessThanOrEqualTo(tolerance(name));
            }
            int[] greedy = expected.get("greedy_ids").row(0);
            int[] prompt = ids.row(0);
            assertThat(run.greedy(prompt, greedy.length - prompt.length)).isEqualTo(greedy);
            assertThat(run.model.unused()).isEmpty();
        }
    }

    @ParameterizedTest(name = "{0} on {1}")
    @MethodSource("decoders")
    void chunksAndBatchesChangeNothing(String name, String executor) {
        Golden.Values ids = Golden.expected(name).get("input_ids");
        try (Runs run = Runs.open(name, executor)) {
            int[] first = ids.row(0);
            int[] second = Arrays.copyOf(ids.row(1), ids.dims()[1] - 5);
            float[] alone = run.rows(Graph.LOGITS, first, null);
            float[] other = run.rows(Graph.LOGITS, second, null);
            float[] both = run.together(Graph.LOGITS, List.of(first, second), Arrays.asList(null, null));
            assertThat(relative(both, 0, alone)).as("first of a batch").isLessThanOrEqualTo(1e-5);
            assertThat(relative(both, alone.length, other)).as("second of a batch").isLessThanOrEqualTo(1e-5);
            if (!dependsOnLength(run)) {
                float[] chunks = run.rowsInChunks(first, CHUNK);
                assertThat(relative(chunks, 0, alone)).as("chunks of %d", CHUNK).isLessThanOrEqualTo(1e-5);
            }
        }
    }

    @ParameterizedTest(name = "{0} on {1}")
    @MethodSource("gptq")
    void gptqRunsOnItsOwnBlocks(String name, String executor) {
        Map<String, Golden.Values> expected = Golden.expected(name);
        Golden.Values logits = expected.get("logits");
        try (Runs run = Runs.open(Golden.folder(name), executor, null)) {
            WeightFormat format = run.model.weights().get("layer.0.attn.q.weight").format();
            if (name.contains("8bit")) {
                // zero points of their own do not fit blocks of 8 bits
                assertThat(format).isEqualTo(WeightFormat.F32);
            } else {
                assertThat(format).isIn(WeightFormat.Q4_0, WeightFormat.Q4_1);
            }
            int size = logits.dims()[1] * logits.dims()[2];
            float[] found = run.rows(Graph.LOGITS, expected.get("input_ids").row(0), null);
            assertThat(Golden.relative(found, logits.data(), 0, size)).isLessThanOrEqualTo(3e-2);
        }
    }

    @Test
    void layersThatReadTheSameActivationShareOnePermutation() {
        try (Runs run = Runs.open("gptq-4bit-g32-actorder", "reference")) {
            List<String> permutes = run.model.graph().nodes().stream()
                    .filter(node -> node.op() instanceof Op.Permute)
                    .map(Node::path)
                    .toList();
            assertThat(permutes)
                    .containsExactly(
                            "layer.0.attn.q.permute", "layer.0.attn.o.permute", "layer.0.mlp.gate.permute",
                            "layer.0.mlp.down.permute", "layer.1.attn.q.permute", "layer.1.attn.o.permute",
                            "layer.1.mlp.gate.permute", "layer.1.mlp.down.permute");
        }
    }

    private static boolean dependsOnLength(Runs run) {
        return run.model.graph().nodes().stream()
                .anyMatch(n -> n.op() instanceof Op.Rope r && r.frequencies().scaling() instanceof Dynamic);
    }

    static double relative(float[] found, int from, float[] expected) {
        double[] wide = new double[expected.length];
        Arrays.setAll(wide, i -> expected[i]);
        return Golden.relative(Arrays.copyOfRange(found, from, from + expected.length), wide, 0, expected.length);
    }

    @Test
    void everyFamilyIsThere() throws IOException {
        List<String> names = goldens("greedy_ids").toList();
        for (String family : new String[] {"gpt2", "llama", "mistral", "qwen2", "qwen3", "gptq"}) {
            assertThat(names).anyMatch(name -> name.startsWith(family));
        }
    }
}
