package dev.millrace.models;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Session;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.models.arch.Golden;
import dev.millrace.quant.WeightRequest;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The model that comes with Millrace computes what PyTorch computes in float64. */
class EmbeddedModelGoldenTest {
    private static final Map<String, Golden.Values> EXPECTED = Golden.expected("classics");

    @ParameterizedTest
    @CsvSource({"reference, NATIVE", "cpu-simd, NATIVE", "cpu-simd, F32"})
    void logitsAreThoseOfPyTorch(String executorName, WeightRequest format) {
        Golden.Values rows = EXPECTED.get("rows");
        Golden.Values logits = EXPECTED.get("logits");
        int[] prompt = EXPECTED.get("input_ids").row(0);
        try (Model model = Model.embedded();
                Executor executor = open(executorName);
                Engine engine = Engine.open(model, executor, EngineOptions.DEFAULT.withWeights(format));
                Session session = engine.newSession(prompt.length)) {
            int vocab = model.config().vocab();
            float[] all = new float[prompt.length * vocab];
            engine.program().forward(Batch.of(session, prompt, Rows.ALL), MemorySegment.ofArray(all));
            float[] found = new float[rows.rows() * vocab];
            int[] kept = rows.ints(0, rows.rows());
            for (int i = 0; i < kept.length; i++) {
                System.arraycopy(all, kept[i] * vocab, found, i * vocab, vocab);
            }
            assertThat(Golden.relative(found, logits.data(), 0, found.length)).isLessThanOrEqualTo(1e-4);
        }
    }

    static List<String> fastExecutors() {
        return Executors.discover().stream()
                .filter(found -> found.available() && !found.name().equals("reference"))
                .map(Executors.Found::name)
                .toList();
    }

    @ParameterizedTest
    @MethodSource("fastExecutors")
    void greedyTextIsThatOfPyTorch(String executorName) {
        int[] prompt = EXPECTED.get("input_ids").row(0);
        int[] expected = EXPECTED.get("greedy_ids").row(0);
        JsonNode said = JsonMapper.shared().readTree(Golden.folder("classics").resolve("expected.json"));
        try (Model model = Model.embedded();
                Executor executor = open(executorName);
                Engine engine = Engine.open(model, executor);
                Session session = engine.newSession(expected.length)) {
            int[] prefix = model.tokenizer().encode(said.get("prompt").stringValue(), false);
            assertThat(Arrays.copyOf(prefix, prompt.length)).as("the prompt's tokens").isEqualTo(prompt);
            int[] found = Arrays.copyOf(prompt, expected.length);
            int[] count = {prompt.length};
            session.decode(prompt, Sampling.GREEDY, expected.length - prompt.length, token -> {
                found[count[0]++] = token;
                return true;
            });
            assertThat(found).isEqualTo(expected);
            assertThat(model.tokenizer().decode(Arrays.copyOfRange(found, prompt.length, found.length), true))
                    .isEqualTo(said.get("greedy_text").stringValue());
        }
    }

    private static Executor open(String name) {
        return Executors.named(name).provider().open(0, ExecutorOptions.DEFAULT);
    }
}
