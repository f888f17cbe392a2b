package dev.millrace.models.arch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.tensor.WeightFormat;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Every encoder of the golden values, on every executor: states, pooling, classifiers, batches of unequal lengths. */
class GoldenEncoderTest {
    private static final double TOLERANCE = 2e-5;

    @TempDir
    Path folder;

    static Stream<Arguments> encoders() throws IOException {
        return GoldenDecoderTest.goldens("last_hidden_state")
                .flatMap(name -> Runs.EXECUTORS.stream().map(executor -> Arguments.of(name, executor)));
    }

    @ParameterizedTest(name = "{0} on {1}")
    @MethodSource("encoders")
    void statesPoolerAndClassifierAreThoseOfTransformers(String name, String executor) {
        Map<String, Golden.Values> expected = Golden.expected(name);
        Golden.Values ids = expected.get("input_ids");
        try (Runs run = Runs.open(name, executor)) {
            assertThat(run.model.config().encoder()).isTrue();
            for (int row = 0; row < ids.rows(); row++) {
                int[] types = types(expected, row);
                check(run.rows(Graph.HIDDEN, ids.row(row), types), expected.get("last_hidden_state"), row);
                float[] pooled = run.rows(Graph.POOLED, ids.row(row), types);
                if (expected.containsKey("pooler_output")) {
                    check(pooled, expected.get("pooler_output"), row);
                } else if (!name.equals("bert-classifier-tiny")) {
                    // the first token's state
                    Golden.Values states = expected.get("last_hidden_state");
                    int from = row * states.dims()[1] * states.dims()[2];
                    assertThat(Golden.relative(pooled, states.data(), from, pooled.length))
                            .isLessThanOrEqualTo(TOLERANCE);
                }
                assertThat(run.model.graph().outputs().containsKey(Graph.LOGITS))
                        .isEqualTo(expected.containsKey("logits"));
                if (expected.containsKey("logits")) {
                    assertThat(run.model.config().labels()).isEqualTo(expected.get("logits").dims()[1]);
                    check(run.rows(Graph.LOGITS, ids.row(row), types), expected.get("logits"), row);
                }
            }
        }
    }

    @ParameterizedTest(name = "{0} on {1}")
    @MethodSource("encoders")
    void aBatchOfUnequalLengthsIsEachTextAlone(String name, String executor) {
        Map<String, Golden.Values> expected = Golden.expected(name);
        if (!expected.containsKey("masked_lengths")) {
            return;
        }
        Golden.Values ids = expected.get("input_ids");
        Golden.Values states = expected.get("masked_last_hidden_state");
        int[] lengths = expected.get("masked_lengths").ints(0, 2);
        int tokens = states.dims()[1];
        int width = states.dims()[2];
        List<int[]> texts = List.of(Arrays.copyOf(ids.row(0), lengths[0]), Arrays.copyOf(ids.row(1), lengths[1]));
        List<int[]> types =
                List.of(Arrays.copyOf(types(expected, 0), lengths[0]), Arrays.copyOf(types(expected, 1), lengths[1]));
        try (Runs run = Runs.open(name, executor)) {
            float[] both = run.together(Graph.HIDDEN, texts, types);
            float[] second = Arrays.copyOfRange(both, lengths[0] * width, both.length);
            assertThat(Golden.relative(both, states.data(), 0, lengths[0] * width)).isLessThanOrEqualTo(TOLERANCE);
            assertThat(Golden.relative(second, states.data(), tokens * width, lengths[1] * width))
                    .isLessThanOrEqualTo(TOLERANCE);
            float[] alone = run.rows(Graph.HIDDEN, texts.get(1), types.get(1));
            assertThat(GoldenDecoderTest.relative(second, 0, alone)).isLessThanOrEqualTo(1e-5);
            float[] pooled = run.together(Graph.POOLED, texts, types);
            float[] pooledAlone = run.rows(Graph.POOLED, texts.get(1), types.get(1));
            assertThat(GoldenDecoderTest.relative(pooled, width, pooledAlone)).isLessThanOrEqualTo(1e-5);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cls", "mean", "max"})
    void sentenceTransformersPoolingIsHonoured(String mode) throws IOException {
        Map<String, Golden.Values> expected = Golden.expected("bert-nopooler-relu");
        copy("bert-nopooler-relu");
        pooling(mode + (mode.equals("cls") ? "_token" : "_tokens"));
        Golden.Values ids = expected.get("input_ids");
        for (String executor : Runs.EXECUTORS) {
            try (Runs run = Runs.open(folder, executor, WeightFormat.F32)) {
                float[] pooled = run.rows(Graph.POOLED, ids.row(1), types(expected, 1));
                if (mode.equals("cls")) {
                    Golden.Values states = expected.get("last_hidden_state");
                    assertThat(Golden.relative(pooled, states.data(), states.dims()[1] * pooled.length, pooled.length))
                            .isLessThanOrEqualTo(TOLERANCE);
                } else {
                    check(pooled, expected.get(mode), 1);
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu-simd"})
    void aNormalizingModuleGivesEmbeddingsOfLengthOne(String executor) throws IOException {
        Map<String, Golden.Values> expected = Golden.expected("bert-gelu-new");
        copy("bert-gelu-new");
        pooling("mean_tokens");
        Files.writeString(folder.resolve("modules.json"), """
                [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                 {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                 {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]""");
        int[] ids = expected.get("input_ids").row(0);
        try (Runs run = Runs.open(folder, executor, WeightFormat.F32)) {
            float[] embedding = run.rows(Bert.SENTENCE, ids, types(expected, 0));
            double[] mean = Arrays.copyOf(expected.get("mean").data(), embedding.length);
            double length = Math.sqrt(Arrays.stream(mean).map(x -> x * x).sum());
            assertThat(Golden.relative(embedding, Arrays.stream(mean).map(x -> x / length).toArray(), 0, mean.length))
                    .isLessThanOrEqualTo(TOLERANCE);
            // the checkpoint's own pooler stays what "pooled" means
            check(run.rows(Graph.POOLED, ids, types(expected, 0)), expected.get("pooler_output"), 0);
            assertThat(length).isNotCloseTo(1, within(0.1));
        }
    }

    private void copy(String golden) throws IOException {
        for (String file : new String[] {"config.json", "model.safetensors"}) {
            Files.copy(Golden.folder(golden).resolve(file), folder.resolve(file));
        }
    }

    private void pooling(String mode) throws IOException {
        Files.createDirectory(folder.resolve("1_Pooling"));
        Files.writeString(folder.resolve("1_Pooling/config.json"), """
                {"word_embedding_dimension": 40, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": false,
                 "pooling_mode_max_tokens": false, "pooling_mode_mean_sqrt_len_tokens": false}
                """.replace("\"pooling_mode_" + mode + "\": false", "\"pooling_mode_" + mode + "\": true"));
    }

    private static int[] types(Map<String, Golden.Values> expected, int row) {
        Golden.Values ids = expected.get("input_ids");
        return expected.containsKey("token_type_ids") ? expected.get("token_type_ids").row(row) : new int[ids.dims()[1]];
    }

    private static void check(float[] found, Golden.Values expected, int row) {
        int size = expected.data().length / expected.rows();
        assertThat(found).hasSize(size);
        assertThat(Golden.relative(found, expected.data(), row * size, size)).isLessThanOrEqualTo(TOLERANCE);
    }
}
