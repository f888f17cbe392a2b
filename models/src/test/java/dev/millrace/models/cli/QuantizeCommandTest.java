package dev.millrace.models.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

class QuantizeCommandTest {
    @TempDir
    Path temp;

    @Test
    void writesAGgufFileThatRunsAndSaysTheErrorOfEveryTensor() {
        Path file = temp.resolve("tiny.gguf");
        Cli quantize = Cli.run("quantize", "-m", Cli.golden("llama-tiny"), "--to", "int8", "-o", file.toString(), "--format", "json");
        assertThat(quantize.exit()).as(quantize.err()).isZero();
        JsonNode json = quantize.json();
        assertThat(json.get("bytes_after").longValue()).isLessThan(json.get("bytes_before").longValue() / 3);
        assertThat(json.get("tensors").size()).isEqualTo(21);
        for (JsonNode tensor : json.get("tensors")) {
            boolean matrix = tensor.get("shape").get(0).intValue() > 1;
            assertThat(tensor.get("to").stringValue()).isEqualTo(matrix ? "int8" : "f32");
            assertThat(tensor.get("relative_rms_error").doubleValue()).isBetween(matrix ? 1e-3 : 0.0, matrix ? 0.01 : 0.0);
        }
        Cli generate = Cli.run("generate", "-m", file.toString(), "-e", "cpu-simd", "--ids", "17,419,48", "-n", "3", "--temperature", "0",
                "--format", "json");
        assertThat(generate.exit()).as(generate.err()).isZero();
        assertThat(generate.json().get("ids").size()).isEqualTo(3);
    }

    @Test
    void writesADirectoryAndATable() {
        Path directory = temp.resolve("tiny-int4");
        Cli quantize = Cli.run("quantize", "-m", Cli.golden("gpt2-tiny"), "--to", "int4", "-o", directory.toString());
        assertThat(quantize.exit()).as(quantize.err()).isZero();
        assertThat(quantize.out()).contains("transformer.h.0.attn.c_attn.weight", "int4", "a table or the output layer");
        assertThat(directory.resolve("model.safetensors")).exists();
        Cli inspect = Cli.run("inspect", directory.toString(), "--format", "json");
        assertThat(inspect.exit()).as(inspect.err()).isZero();
    }

    @Test
    void doesNotWriteOverAFileUnlessForced() throws Exception {
        Path file = Files.writeString(temp.resolve("there.gguf"), "precious");
        String[] line = {"quantize", "-m", Cli.golden("llama-tiny"), "--to", "f16", "-o", file.toString()};
        Cli refused = Cli.run(line);
        assertThat(refused.exit()).isEqualTo(2);
        assertThat(refused.err()).contains("is there already");
        assertThat(file).hasContent("precious");
        String[] forced = java.util.Arrays.copyOf(line, line.length + 1);
        forced[line.length] = "--force";
        assertThat(Cli.run(forced).exit()).isZero();
        assertThat(Files.size(file)).isGreaterThan(100_000);
    }

    @Test
    void wrongLinesAreRefused() {
        String out = temp.resolve("x.gguf").toString();
        assertThat(Cli.run("quantize", "--to", "int3", "-o", out).exit()).isEqualTo(2);
        assertThat(Cli.run("quantize", "-o", out).exit()).isEqualTo(2);
        assertThat(Cli.run("quantize", "--to", "native", "-o", temp.resolve("dir").toString()).exit()).isEqualTo(2);
        Cli synthetic = Cli.run("quantize", "-m", "synthetic:gpt2", "--to", "int8", "-o", out);
        assertThat(synthetic.exit()).isEqualTo(1);
        assertThat(synthetic.err()).contains("random weights");
        assertThat(temp.resolve("x.gguf")).doesNotExist();
    }
}
