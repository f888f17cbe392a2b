package dev.millrace.models.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.Gptq;
import dev.millrace.quant.QuantError;
import dev.millrace.quant.Views;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointTest {
    @TempDir
    Path temp;

    static Path golden(String name) {
        return Path.of("src/test/resources/goldens", name);
    }

    static List<Path> goldens() throws IOException {
        try (Stream<Path> all = Files.list(golden(""))) {
            return all.filter(d -> Files.exists(d.resolve("config.json"))).sorted().toList();
        }
    }

    @ParameterizedTest
    @MethodSource("goldens")
    void opensEveryGoldenCheckpointAndReadsAllItsWeights(Path directory) {
        try (Checkpoint checkpoint = Checkpoint.open(directory)) {
            assertThat(checkpoint.tensors()).isNotEmpty();
            for (Tensor tensor : checkpoint.tensors().values()) {
                if (tensor.format().isPresent()) {
                    for (float value : tensor.weight().floats()) {
                        assertThat(Float.isFinite(value)).isTrue();
                    }
                }
            }
        }
    }

    @Test
    void readsShardsAsOneCheckpoint() {
        try (Checkpoint checkpoint = Checkpoint.open(golden("llama-shards"))) {
            assertThat(checkpoint.weight("model.embed_tokens.weight").shape()).isEqualTo(new Shape(128, 48));
            assertThat(checkpoint.weight("lm_head.weight").format()).isEqualTo(WeightFormat.F16);
            assertThat(checkpoint.tensors().values().stream().map(Tensor::file).distinct().count()).isEqualTo(4);
        }
    }

    @Test
    void missingShardsAndTensorsAreNamed() throws IOException {
        copy(golden("llama-shards"));
        Files.delete(temp.resolve("model-00002-of-00004.safetensors"));
        fails(temp, "shard model-00002-of-00004.safetensors is missing");

        new SafetensorsWriter().add("other", new float[4], 4).write(temp.resolve("model-00002-of-00004.safetensors"));
        fails(temp, "tensors are not in the shards it names", "model.layers.0.mlp.up_proj.weight");
    }

    @Test
    void oneTensorInTwoShardsIsRefused() throws IOException {
        Files.copy(golden("llama-shards").resolve("config.json"), temp.resolve("config.json"));
        Files.writeString(temp.resolve("model.safetensors.index.json"),
                "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"}}");
        new SafetensorsWriter().add("a", new float[1], 1).write(temp.resolve("one.safetensors"));
        new SafetensorsWriter().add("a", new float[1], 1).add("b", new float[1], 1).write(temp.resolve("two.safetensors"));
        fails(temp, "tensor a is in two shards, one.safetensors and two.safetensors");
    }

    @Test
    void tensorsTheIndexDoesNotListAreListedApart() throws IOException {
        Files.copy(golden("llama-shards").resolve("config.json"), temp.resolve("config.json"));
        Files.writeString(temp.resolve("model.safetensors.index.json"), "{\"weight_map\": {\"a\": \"one.safetensors\"}}");
        new SafetensorsWriter().add("a", new float[1], 1).add("b", new float[1], 1).write(temp.resolve("one.safetensors"));
        try (HuggingFaceCheckpoint checkpoint = HuggingFaceCheckpoint.open(temp)) {
            assertThat(checkpoint.unlisted()).containsExactly("b");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"../one.safetensors", "/etc/passwd", "", "a/b", ".."})
    void anIndexCannotReachOutOfItsDirectory(String shard) throws IOException {
        Files.copy(golden("llama-shards").resolve("config.json"), temp.resolve("config.json"));
        Files.writeString(
                temp.resolve("model.safetensors.index.json"), "{\"weight_map\": {\"a\": \"" + shard + "\"}}");
        fails(temp, "model.safetensors.index.json", "is not the name of a file in this directory");
    }

    @Test
    void whatIsNoCheckpointIsNamed() throws IOException {
        fails(temp.resolve("absent"), "no such file or directory");
        fails(temp, "no config.json");
        Files.writeString(temp.resolve("config.json"), "{}");
        fails(temp, "neither model.safetensors nor");
        Files.writeString(temp.resolve("pytorch_model.bin"), "");
        fails(temp, "convert it to safetensors");
        Files.createDirectory(temp.resolve("model.safetensors"));
        fails(temp, "is a directory");
        Path text = Files.writeString(temp.resolve("notes.txt"), "");
        fails(text, ".gguf file was expected");
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "llama-gptq-g32", "llama-gptq-g64-actorder-asym", "gptq-4bit-column-actorder", "gptq-4bit-g32-actorder"
    })
    void gptqBlocksHoldTheExactNumbersInTheOrderTheyName(String name) {
        try (HuggingFaceCheckpoint checkpoint = HuggingFaceCheckpoint.open(golden(name))) {
            int layers = 0;
            for (String tensor : checkpoint.names()) {
                if (!tensor.endsWith(".qweight")) {
                    continue;
                }
                layers++;
                Gptq linear = checkpoint.gptq(tensor.substring(0, tensor.length() - 8)).orElseThrow();
                Weight blocks = linear.blocks().orElseThrow();
                Weight ordered = linear.order()
                        .map(order -> Views.permutedColumns("ordered", linear.exact(), order))
                        .orElse(linear.exact());
                if (blocks.format() == WeightFormat.Q4_0) {
                    assertThat(Arrays.mismatch(blocks.floats(), ordered.floats())).isEqualTo(-1);
                } else {
                    assertThat(QuantError.between(ordered, blocks).relativeRms()).isLessThan(0x1p-11);
                }
            }
            assertThat(layers).isPositive();
        }
    }

    private void copy(Path from) throws IOException {
        try (Stream<Path> files = Files.list(from)) {
            for (Path file : files.toList()) {
                Files.copy(file, temp.resolve(file.getFileName().toString()));
            }
        }
    }

    private static void fails(Path path, String... parts) {
        assertThatThrownBy(() -> Checkpoint.open(path).close())
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining(path.toString())
                .hasMessageContainingAll(parts);
    }
}
