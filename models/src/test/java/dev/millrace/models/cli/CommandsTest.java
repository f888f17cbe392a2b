package dev.millrace.models.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.millrace.core.tensor.Weight;
import dev.millrace.models.checkpoint.Checkpoint;
import dev.millrace.models.checkpoint.Safetensors;
import dev.millrace.models.checkpoint.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/** What each command gives, on files whose answers come from elsewhere. */
class CommandsTest {
    private static final String TINY = Cli.golden("gpt2-tiny");

    private static int[] expectedInts(String model, String tensor) {
        try (Safetensors file = Safetensors.open(Path.of(Cli.golden(model), "expected.safetensors"))) {
            return file.tensors().get(tensor).ints();
        }
    }

    private static String commas(int[] ids) {
        return Arrays.stream(ids).mapToObj(Integer::toString).collect(Collectors.joining(","));
    }

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu-simd"})
    void greedyIdsAreThoseOfTransformers(String executor) {
        int[] expected = expectedInts("gpt2-tiny", "greedy_ids");
        int[] prompt = Arrays.copyOf(expected, expected.length - 24);

        Cli run = Cli.run("generate", "-m", TINY, "-e", executor, "--ids", commas(prompt), "-n", "24",
                "--temperature", "0", "--format", "json");

        assertThat(run.exit()).as(run.err()).isZero();
        assertThat(Cli.ints(run.json().get("ids"))).isEqualTo(Arrays.copyOfRange(expected, prompt.length, expected.length));
        assertThat(Cli.ints(run.json().get("prompt_ids"))).isEqualTo(prompt);
        assertThat(run.json().get("executor").stringValue()).isEqualTo(executor);
        assertThat(run.json().get("stop_reason").stringValue()).isEqualTo("length");
        assertThat(run.json().get("text").isNull()).isTrue();
        assertThat(run.json().get("ttft_ms").doubleValue()).isPositive();
        assertThat(run.json().get("decode_tokens_per_s").doubleValue()).isPositive();
        assertThat(run.err()).startsWith("executor: " + executor);
    }

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu-simd"})
    void logitsAreThoseOfTransformers(String executor, @TempDir Path folder) {
        Path file = folder.resolve("logits.safetensors");
        int[] ids = expectedInts("gpt2-tiny", "input_ids");
        try (Safetensors golden = Safetensors.open(Path.of(TINY, "expected.safetensors"))) {
            Tensor expected = golden.tensors().get("logits");
            int tokens = expected.dims().get(1).intValue();

            Cli run = Cli.run("logits", "-m", TINY, "-e", executor, "--ids", commas(Arrays.copyOf(ids, tokens)), "-o",
                    file.toString());

            assertThat(run.exit()).as(run.err()).isZero();
            try (Safetensors written = Safetensors.open(file)) {
                Tensor logits = written.tensors().get("logits");
                assertThat(logits.type()).isEqualTo("F32");
                assertThat(logits.dims()).containsExactly((long) tokens, expected.dims().get(2));
                float[] found = logits.weight().floats();
                assertThat(relativeError(found, Arrays.copyOf(expected.weight().floats(), found.length))).isLessThan(1e-5);
            }
        }
    }

    @Test
    void embedGivesThePoolerOfBert(@TempDir Path folder) {
        Path file = folder.resolve("bert.safetensors");
        String bert = Cli.golden("bert-tiny");
        try (Safetensors golden = Safetensors.open(Path.of(bert, "expected.safetensors"))) {
            int[] ids = golden.tensors().get("input_ids").ints();
            int tokens = golden.tensors().get("input_ids").dims().get(1).intValue();

            Cli run = Cli.run("embed", "-m", bert, "--ids", commas(Arrays.copyOf(ids, tokens)), "-o", file.toString());

            assertThat(run.exit()).as(run.err()).isZero();
            try (Safetensors written = Safetensors.open(file)) {
                for (var name : List.of(List.of("last_hidden_state", "last_hidden_state"), List.of("pooled", "pooler_output"))) {
                    float[] found = written.tensors().get(name.get(0)).weight().floats();
                    float[] expected = golden.tensors().get(name.get(1)).weight().floats();
                    assertThat(relativeError(found, Arrays.copyOf(expected, found.length))).as(name.get(0)).isLessThan(1e-5);
                }
                assertThat(written.tensors().get("pooled").dims()).hasSize(1);
                assertThat(written.tensors().get("last_hidden_state").dims()).hasSize(2);
            }
        }
    }

    private static double relativeError(float[] found, float[] expected) {
        double error = 0;
        double size = 0;
        for (int i = 0; i < expected.length; i++) {
            error += Math.pow((double) found[i] - expected[i], 2);
            size += Math.pow(expected[i], 2);
        }
        return Math.sqrt(error / size);
    }

    @Test
    void textModeStreamsTheSameTextAsJsonAndStatsTellTheSeed() {
        Cli text = Cli.run("generate", "Once upon a time", "-n", "12", "--seed", "7", "--stats");
        Cli json = Cli.run("generate", "Once upon a time", "-n", "12", "--seed", "7", "--format", "json");

        assertThat(text.exit()).as(text.err()).isZero();
        assertThat(text.out()).isEqualTo(json.json().get("text").stringValue() + System.lineSeparator());
        assertThat(text.err()).contains("seed 7;").contains("12 new tokens");
        assertThat(json.json().get("seed").longValue()).isEqualTo(7);
    }

    @Test
    void aFreshSeedIsDrawnEachTimeAndReproducesTheText() {
        JsonNode first = Cli.run("generate", "The", "-n", "8", "--format", "json").json();
        JsonNode second = Cli.run("generate", "The", "-n", "8", "--format", "json").json();
        JsonNode again = Cli.run(
                "generate", "The", "-n", "8", "--format", "json", "--seed", first.get("seed").toString()).json();

        assertThat(second.get("seed")).isNotEqualTo(first.get("seed"));
        assertThat(again.get("text")).isEqualTo(first.get("text"));
    }

    @Test
    void withoutPromptItBeginsWithTheModelsFirstToken() {
        JsonNode run = Cli.run("generate", "-n", "3", "--temperature", "0", "--format", "json").json();

        assertThat(Cli.ints(run.get("prompt_ids"))).containsExactly(0);
        assertThat(run.get("ids").size()).isEqualTo(3);
    }

    @Test
    void generationEndsWhenTheContextIsFull() {
        String prompt = commas(new int[500]).replace("0", "5");

        JsonNode run = Cli.run("generate", "--ids", prompt, "-n", "100", "--seed", "1", "--format", "json").json();

        assertThat(run.get("stop_reason").stringValue()).isIn("context", "eos");
        assertThat(run.get("ids").size()).isLessThanOrEqualTo(12);
    }

    @Test
    void perplexityOfTheEmbeddedModelIsWhatItsLogitsSay(@TempDir Path folder) throws IOException {
        Path text = folder.resolve("text.txt");
        Files.writeString(text, "The old man looked at the sea, and said nothing to the boy.");
        Path logitsFile = folder.resolve("logits.safetensors");
        JsonNode all = Cli.run("logits", "--text", Files.readString(text), "-o", logitsFile.toString(), "--format", "json").json();
        int[] ids = Cli.ints(all.get("ids"));
        int window = 5;
        double nll = 0;
        int scored = 0;
        for (int start = 0; start < ids.length; start += window) {
            int[] part = Arrays.copyOfRange(ids, start, Math.min(ids.length, start + window));
            Cli.run("logits", "--ids", commas(part), "-o", logitsFile.toString());
            try (Safetensors file = Safetensors.open(logitsFile)) {
                Weight logits = file.tensors().get("logits").weight();
                for (int i = 0; i + 1 < part.length; i++, scored++) {
                    float[] row = new float[(int) logits.shape().columns()];
                    logits.decodeRows(i, 1, row, 0);
                    double total = 0;
                    for (float x : row) {
                        total += Math.exp(x);
                    }
                    nll += Math.log(total) - row[part[i + 1]];
                }
            }
        }

        JsonNode run = Cli.run("perplexity", "--file", text.toString(), "--ctx", "5", "--format", "json").json();

        assertThat(run.get("tokens").intValue()).isEqualTo(scored);
        assertThat(run.get("nll").doubleValue()).isCloseTo(nll / scored, within(1e-5));
        assertThat(run.get("perplexity").doubleValue()).isCloseTo(Math.exp(nll / scored), within(1e-2));
    }

    @Test
    void verifyPassesAGoodExecutorAndNamesTheOpOfAWrongOne() {
        Cli good = Cli.run("verify", "-m", TINY, "-e", "cpu-simd");
        Cli wrong = Cli.run("verify", "-m", TINY, "-e", "wrong");

        assertThat(good.exit()).as(good.out() + good.err()).isZero();
        assertThat(good.out()).contains("layer.0.attn.qkv").contains("lm_head").doesNotContain("WRONG");
        assertThat(wrong.exit()).isEqualTo(1);
        assertThat(wrong.err()).contains("millrace: 1 of").contains("past their tolerance: layer.0.attn.qkv");
    }

    @ParameterizedTest
    @ValueSource(strings = {"native", "f32", "f16", "bf16", "int8", "int4"})
    void verifyPassesTheEmbeddedModelInEveryWeightFormat(String format) {
        Cli run = Cli.run("verify", "-e", "cpu-simd", "--weights", format, "--ids", "47,1450,652,259,586", "--format", "json");

        assertThat(run.exit()).as(run.out() + run.err()).isZero();
        assertThat(run.json().get("ops").size()).isGreaterThan(40);
    }

    @Test
    void inspectTellsTheTensorsOfTheFile() {
        JsonNode run = Cli.run("inspect", TINY, "--format", "json").json();

        try (Checkpoint checkpoint = Checkpoint.open(Path.of(TINY))) {
            assertThat(run.get("tensors").size()).isEqualTo(checkpoint.tensors().size());
            assertThat(run.get("bytes").longValue()).isEqualTo(checkpoint.bytes());
        }
        assertThat(run.get("config").get("family").stringValue()).isEqualTo("gpt2");
        assertThat(run.get("executors").toString()).contains("cpu-simd").contains("reference");
    }

    @Test
    void devicesListsEveryExecutorWithWhatTheContractNames() {
        JsonNode rows = Cli.run("devices", "--format", "json").json();

        assertThat(rows.isArray()).isTrue();
        for (JsonNode row : rows) {
            assertThat(row.propertyNames()).contains("executor", "available", "reason", "device", "read_gb_s");
            assertThat(row.get("available").booleanValue()).isEqualTo(!row.get("device").isNull());
        }
        JsonNode cpu = rows.valueStream().filter(r -> r.get("executor").stringValue().equals("cpu-simd")).findFirst().orElseThrow();
        assertThat(cpu.get("read_gb_s").doubleValue()).isBetween(0.5, 5000.0);
    }

    @Test
    void devicesShowsPeaksThatItCannotKeep(@TempDir Path folder) throws IOException {
        String before = System.setProperty("millrace.cache", Files.writeString(folder.resolve("file"), "").toString());
        try {
            Cli run = Cli.run("devices");

            assertThat(run.exit()).isZero();
            assertThat(run.out()).containsPattern("cpu-simd .* reads [0-9.]+ GB/s");
            assertThat(run.err()).contains("not kept in " + folder.resolve("file").resolve("peaks.json")).contains("set MILLRACE_CACHE");
        } finally {
            if (before == null) {
                System.clearProperty("millrace.cache");
            } else {
                System.setProperty("millrace.cache", before);
            }
        }
    }

    @Test
    void doctorChecksJavaVectorsAndTheEmbeddedModel() {
        Cli run = Cli.run("doctor", "--format", "json");

        assertThat(run.json().toString()).contains("java").contains("vector module").contains("cache").contains("embedded model");
        boolean allGood = run.json().valueStream().allMatch(f -> f.get("ok").booleanValue());
        assertThat(run.exit()).isEqualTo(allGood ? 0 : 1);
        run.json().valueStream().filter(f -> !f.get("ok").booleanValue()).forEach(f -> assertThat(f.get("fix").isNull()).isFalse());
    }

    @Test
    void helpOfEveryCommandTellsItsOptions() {
        Cli help = Cli.run("--help");

        assertThat(help.exit()).isZero();
        for (String command : List.of("generate", "logits", "embed", "perplexity", "inspect", "verify", "devices", "doctor")) {
            assertThat(help.out()).contains(command);
            assertThat(Cli.run(command, "--help").out()).contains("Usage: millrace " + command).contains("--debug");
        }
    }
}
