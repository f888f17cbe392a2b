package dev.millrace.models.arch;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.tensor.WeightFormat;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The same golden models as GGUF files, which a writer of its own made (docs/goldens/make_gguf.py). */
class GoldenGgufTest {
    private static Stream<Arguments> cross(String... names) {
        return Stream.of(names).flatMap(name -> Runs.EXECUTORS.stream().map(executor -> Arguments.of(name, executor)));
    }

    static Stream<Arguments> decoders() {
        return cross(
                "gpt2-untied", "llama-bias-headdim", "llama-rope-linear", "llama-rope-llama3", "llama-rope-yarn",
                "mistral-window", "qwen2-tied", "qwen3-untied");
    }

    static Stream<Arguments> encoders() {
        return cross("bert-classifier", "roberta-base");
    }

    private static Runs open(String name, String executor) {
        return Runs.open(Golden.folder("gguf").resolve(name + ".gguf"), executor, WeightFormat.F32);
    }

    @ParameterizedTest(name = "{0} on {1}")
    @MethodSource("decoders")
    void decodersComputeWhatTheirFoldersDo(String name, String executor) {
        Map<String, Golden.Values> expected = Golden.expected(name);
        Golden.Values logits = expected.get("logits");
        int size = logits.dims()[1] * logits.dims()[2];
        try (Runs run = open(name, executor)) {
            for (int row = 0; row < logits.rows(); row++) {
                float[] found = run.rows(Graph.LOGITS, expected.get("input_ids").row(row), null);
                assertThat(Golden.relative(found, logits.data(), row * size, size)).isLessThanOrEqualTo(2e-5);
            }
            int[] greedy = expected.get("greedy_ids").row(0);
            int[] prompt = expected.get("input_ids").row(0);
            assertThat(run.greedy(prompt, greedy.length - prompt.length)).isEqualTo(greedy);
            assertThat(run.model.unused()).isSubsetOf("rope_freqs.weight");
            assertThat(run.model.config().eos()).hasSize(1);
        }
    }

    @ParameterizedTest(name = "{0} on {1}")
    @MethodSource("encoders")
    void encodersComputeWhatTheirFoldersDo(String name, String executor) {
        Map<String, Golden.Values> expected = Golden.expected(name);
        Golden.Values states = expected.get("last_hidden_state");
        Golden.Values mean = expected.get("mean");
        int size = states.dims()[1] * states.dims()[2];
        try (Runs run = open(name, executor)) {
            for (int row = 0; row < states.rows(); row++) {
                int[] ids = expected.get("input_ids").row(row);
                int[] types = expected.get("token_type_ids").row(row);
                float[] found = run.rows(Graph.HIDDEN, ids, types);
                assertThat(Golden.relative(found, states.data(), row * size, size)).isLessThanOrEqualTo(2e-5);
                float[] pooled = run.rows(Graph.POOLED, ids, types);
                assertThat(Golden.relative(pooled, mean.data(), row * mean.dims()[1], pooled.length))
                        .isLessThanOrEqualTo(2e-5);
            }
        }
    }
}
