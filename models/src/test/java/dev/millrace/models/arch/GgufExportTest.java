package dev.millrace.models.arch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.models.Model;
import dev.millrace.models.checkpoint.GgufCheckpoint;
import dev.millrace.models.quantize.Quantizer;
import dev.millrace.models.quantize.Quantizer.Report;
import dev.millrace.models.quantize.Quantizer.TensorReport;
import dev.millrace.models.tokenizer.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What is written as GGUF computes what the checkpoint did. */
class GgufExportTest {
    /** Variants that llama.cpp's graph of the architecture does not have. */
    private static final Set<String> NO_FORM = Set.of(
            "gpt2-gelu-unscaled",
            "gpt2-relu-inner75",
            "gpt2-silu-layerscale",
            "gpt2-upcast",
            "llama-rope-dynamic",
            "llama-rope-yarn-mscale",
            "qwen2-window",
            "qwen3-bias-window");

    @TempDir
    Path temp;

    static Stream<String> written() throws IOException {
        return GoldenDecoderTest.goldens("greedy_ids").filter(name -> !NO_FORM.contains(name));
    }

    static Stream<String> refused() {
        return NO_FORM.stream().sorted();
    }

    @ParameterizedTest
    @MethodSource("written")
    void theFileComputesTheGoldenLogits(String name) {
        Map<String, Golden.Values> expected = Golden.expected(name);
        Golden.Values logits = expected.get("logits");
        Path file = temp.resolve(name + ".gguf");
        Report report = write(name, Optional.empty(), file);
        assertThat(report.tensors()).isNotEmpty();
        try (Runs run = Runs.open(file, "cpu-simd", WeightFormat.F32)) {
            int size = logits.dims()[1] * logits.dims()[2];
            float[] found = run.rows(Graph.LOGITS, expected.get("input_ids").row(0), null);
            // 8-bit GPTQ with zero points of its own stays F32; 4-bit blocks round their minimum to f16
            double tolerance = name.contains("asym") || name.startsWith("gptq-4bit") ? 2e-3 : 3e-5;
            assertThat(Golden.relative(found, logits.data(), 0, size)).isLessThanOrEqualTo(tolerance);
            assertThat(run.model.unused()).isEmpty();
        }
    }

    @ParameterizedTest
    @MethodSource("refused")
    void whatTheFormatCannotSayIsRefused(String name) {
        Path file = temp.resolve("refused.gguf");
        assertThatThrownBy(() -> write(name, Optional.empty(), file))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("no form in a GGUF file");
        assertThat(file).doesNotExist();
    }

    @ParameterizedTest
    @CsvSource({"Q8_0, 0.001, 0.01, 0.03", "Q4_0, 0.02, 0.15, 0.5", "Q5_0, 0.01, 0.08, 0.25", "F16, 0, 0.0005, 0.001"})
    void quantizedFilesAreAsFarOffAsTheyReport(WeightFormat format, double least, double most, double logitsOff) {
        Map<String, Golden.Values> expected = Golden.expected("llama-tiny");
        Golden.Values logits = expected.get("logits");
        Path file = temp.resolve("small.gguf");
        Report report = write("llama-tiny", Optional.of(format), file);
        for (TensorReport tensor : report.tensors()) {
            boolean matrix = tensor.shape().rows() > 1;
            assertThat(tensor.to()).as(tensor.name()).isEqualTo(matrix ? format : WeightFormat.F32);
            if (matrix) {
                assertThat(tensor.error().orElseThrow().relativeRms()).as(tensor.name()).isBetween(least, most);
            } else {
                assertThat(tensor.error()).isEmpty();
            }
        }
        assertThat(report.bytesAfter()).isLessThan(report.bytesBefore());
        try (Runs run = Runs.open(file, "cpu-simd", WeightFormat.F32);
                GgufCheckpoint read = GgufCheckpoint.open(file)) {
            assertThat(read.bytes()).isEqualTo(report.bytesAfter());
            float[] found = run.rows(Graph.LOGITS, expected.get("input_ids").row(0), null);
            int size = logits.dims()[1] * logits.dims()[2];
            assertThat(Golden.relative(found, logits.data(), 0, size)).isBetween(1e-6, logitsOff);
        }
    }

    @Test
    void rowsThatFillNoBlockBecomeHalves() {
        Path file = temp.resolve("odd.gguf");
        Report report = write("llama-shards", Optional.of(WeightFormat.Q8_0), file);
        TensorReport odd = report.tensors().stream().filter(t -> t.name().equals("blk.0.attn_q.weight")).findFirst().orElseThrow();
        assertThat(odd.shape().columns()).isEqualTo(48);
        assertThat(odd.to()).isEqualTo(WeightFormat.F16);
        assertThat(odd.note()).contains("rows of 48 fill no blocks of 32");
    }

    @Test
    void aGgufFileIsWrittenAgainInAnotherFormatWithItsMetadata() {
        Path first = temp.resolve("first.gguf");
        write("llama3-rope-tied", Optional.empty(), first);
        Path second = temp.resolve("second.gguf");
        try (Model model = Model.load(first)) {
            Quantizer.toGguf(model, Optional.of(WeightFormat.Q8_0), second, tensor -> {});
        }
        try (GgufCheckpoint before = GgufCheckpoint.open(first);
                GgufCheckpoint after = GgufCheckpoint.open(second)) {
            assertThat(after.names()).isEqualTo(before.names());
            assertThat(after.metadata().integer("general.file_type")).isEqualTo(7);
            before.metadata().values().forEach((key, value) -> {
                if (!key.equals("general.file_type")) {
                    assertThat(after.metadata().values().get(key)).as(key).hasToString(value.toString());
                }
            });
            assertThat(after.weight("rope_freqs.weight").floats()).containsExactly(before.weight("rope_freqs.weight").floats());
            assertThat(after.weight("blk.0.ffn_up.weight").format()).isEqualTo(WeightFormat.Q8_0);
        }
    }

    @Test
    void theTokenizerComesAlong() {
        Path file = temp.resolve("embedded.gguf");
        try (Model model = Model.embedded()) {
            Quantizer.toGguf(model, Optional.of(WeightFormat.Q8_0), file, tensor -> {});
            try (Model written = Model.load(file);
                    Tokenizer expected = model.tokenizer();
                    Tokenizer found = written.tokenizer()) {
                for (String text : new String[] {
                    "Once upon a time, there was a girl who'd 12345 apples.", "  spaces\n\n\ttabs ", "\u00fcn\u00efc\u00f6d\u00e9 \ud83d\ude00 <|endoftext|>", ""
                }) {
                    assertThat(found.encode(text, true)).isEqualTo(expected.encode(text, true));
                }
                assertThat(written.config().eos()).isEqualTo(model.config().eos());
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "llama-tiny, Q8_0, 0.03", "llama-tiny, Q4_0, 0.5", "gpt2-tiny, Q8_0, 0.03", "gpt2-tiny, Q4_0, 0.5",
        "llama-tiny, F16, 0.002", "gpt2-tiny, BF16, 0.02", "qwen3-untied, F32, 0.00003", "llama-shards, Q8_0, 0.03"
    })
    void aDirectoryIsWrittenAgain(String name, WeightFormat format, double logitsOff) {
        Map<String, Golden.Values> expected = Golden.expected(name);
        Golden.Values logits = expected.get("logits");
        Path directory = temp.resolve("again");
        Report report;
        try (Model model = Model.load(Golden.folder(name))) {
            report = Quantizer.toDirectory(model, format, directory, tensor -> {});
            assertThatThrownBy(() -> Quantizer.toDirectory(model, format, directory, tensor -> {}))
                    .isInstanceOf(MillraceException.class)
                    .hasMessageContaining("is there already");
        }
        assertThat(report.tensors()).anyMatch(t -> t.to() == format || name.equals("llama-shards"));
        try (Runs run = Runs.open(directory, "cpu-simd", null)) {
            float[] found = run.rows(Graph.LOGITS, expected.get("input_ids").row(0), null);
            int size = logits.dims()[1] * logits.dims()[2];
            assertThat(Golden.relative(found, logits.data(), 0, size)).isBetween(1e-9, logitsOff);
            WeightFormat inner = run.model.weights().get("layer.0.mlp.down.weight").format();
            assertThat(inner).isEqualTo(name.equals("llama-shards") ? WeightFormat.F16 : format);
            assertThat(run.model.unused()).isEmpty();
        }
    }

    @Test
    void whatADirectoryCannotHoldIsRefused() {
        try (Model model = Model.load(Golden.folder("llama-gptq-g32"))) {
            assertThatThrownBy(() -> Quantizer.toDirectory(model, WeightFormat.Q8_0, temp.resolve("x"), tensor -> {}))
                    .isInstanceOf(MillraceException.class)
                    .hasMessageContaining("is quantized by GPTQ already");
        }
        try (Model model = Model.load(Golden.folder("llama-tiny"))) {
            assertThatThrownBy(() -> Quantizer.toDirectory(model, WeightFormat.Q5_1, temp.resolve("x"), tensor -> {}))
                    .isInstanceOf(MillraceException.class)
                    .hasMessageContaining("safetensors has no form for q5_1");
        }
        assertThat(temp.resolve("x")).doesNotExist();
    }

    @Test
    void formatsThatCannotBeWrittenAndModelsThatHaveNoFormAreRefused() {
        Path file = temp.resolve("no.gguf");
        assertThatThrownBy(() -> write("llama-tiny", Optional.of(WeightFormat.Q6_K), file))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("format q6_k can be read but not written");
        assertThatThrownBy(() -> write("bert-tiny", Optional.of(WeightFormat.Q8_0), file))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("a GGUF file of a bert model is not written");
        assertThat(Files.exists(file)).isFalse();
    }

    private static Report write(String golden, Optional<WeightFormat> to, Path file) {
        try (Model model = Model.load(Golden.folder(golden))) {
            return Quantizer.toGguf(model, to, file, tensor -> {});
        }
    }
}
