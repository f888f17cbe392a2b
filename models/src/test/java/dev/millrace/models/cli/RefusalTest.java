package dev.millrace.models.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Every wrong command line and every impossible run: the exit code, nothing on stdout, one line that says why. */
class RefusalTest {
    private static Arguments wrong(int exit, String says, String... args) {
        return Arguments.of(List.of(args), exit, says);
    }

    static Stream<Arguments> refusals() {
        String tiny = Cli.golden("gpt2-tiny");
        return Stream.of(
                // the command line is wrong
                wrong(2, "no command"),
                wrong(2, "no command is named 'frobnicate'; there are: generate, chat, ", "frobnicate"),
                wrong(2, "--frobnicate", "generate", "x", "--frobnicate"),
                wrong(2, "'-1'", "generate", "x", "-n", "-1"),
                wrong(2, "'0'", "generate", "x", "--max-tokens", "0"),
                wrong(2, "'many'", "generate", "x", "-n", "many"),
                wrong(2, "'99999999999'", "generate", "x", "-n", "99999999999"),
                wrong(2, "'x' is not a float", "generate", "x", "--temperature", "x"),
                wrong(2, "temperature -1.0", "generate", "x", "--temperature", "-1"),
                wrong(2, "temperature NaN", "generate", "x", "--temperature", "NaN"),
                wrong(2, "top-p 1.5", "generate", "x", "--top-p", "1.5"),
                wrong(2, "top-k -3", "generate", "x", "--top-k", "-3"),
                wrong(2, "min-p 2.0", "generate", "x", "--min-p", "2"),
                wrong(2, "repeat penalty 0.0", "generate", "x", "--repeat-penalty", "0"),
                wrong(2, "'abc'", "generate", "x", "--seed", "abc"),
                wrong(2, "stop text", "generate", "x", "--stop", ""),
                wrong(2, "prompt is empty", "generate", ""),
                wrong(2, "'upon'", "generate", "Once", "upon"),
                wrong(2, "give one", "generate", "x", "--ids", "1"),
                wrong(2, "'x' is no token id", "generate", "--ids", "1,x"),
                wrong(2, "'' is no token id", "generate", "--ids", "1,,2"),
                wrong(2, "token id -4", "generate", "--ids", "1,-4"),
                wrong(2, "no executor is named foo", "generate", "x", "--executor", "foo"),
                wrong(2, "[auto, f32, f16]", "generate", "x", "--kv", "q8"),
                wrong(2, "'q3'", "generate", "x", "--weights", "q3"),
                wrong(2, "'0'", "generate", "x", "--threads", "0"),
                wrong(2, "'-1'", "generate", "x", "--device", "-1"),
                wrong(2, "[text, json]", "generate", "x", "--format", "xml"),
                wrong(2, "--batch", "generate", "x", "--batch", "2"),
                wrong(2, "--stop", "logits", "--ids", "1", "--stop", "x"),
                wrong(2, "--text TEXT or --ids", "logits"),
                wrong(2, "give one", "logits", "--ids", "1", "--text", "a"),
                wrong(2, "--ids 1,2,3", "embed"),
                wrong(2, "--file", "perplexity"),
                wrong(2, "at least 2", "perplexity", "--file", "x", "--ctx", "1"),
                wrong(2, "given twice", "inspect", "a", "-m", "b"),
                wrong(2, "--weights", "devices", "--weights", "f32"),
                // the run cannot be
                wrong(1, "/no/such/model", "generate", "-m", "/no/such/model", "x"),
                wrong(1, "synthetic:nosuch", "generate", "-m", "synthetic:nosuch", "x"),
                wrong(1, "/no/such/text", "perplexity", "--file", "/no/such/text"),
                wrong(1, "token id 8192", "generate", "--ids", "1,8192"),
                wrong(1, "token id 99999", "logits", "--ids", "99999"),
                wrong(1, "no tokenizer", "generate", "-m", tiny, "some text"),
                wrong(1, "no tokenizer", "generate", "-m", tiny, "--ids", "1", "--stop", "x"),
                wrong(1, "is an encoder", "generate", "-m", Cli.golden("bert-tiny"), "--ids", "1"),
                wrong(1, "is an encoder", "logits", "-m", Cli.golden("bert-tiny"), "--ids", "1"),
                wrong(1, "predicts the next token", "embed", "some text"),
                wrong(1, "no device 7", "generate", "x", "--device", "7"),
                wrong(1, "--threads 3", "generate", "x", "-e", "reference", "--threads", "3"),
                wrong(1, "--math tf32", "generate", "x", "-e", "cpu-simd", "--math", "tf32"),
                wrong(2, "[f32, tf32]", "generate", "x", "--math", "bf16"),
                wrong(2, "'0'", "generate", "x", "--prefill-chunk", "0"),
                wrong(1, "context of 512", "generate", "x ".repeat(600)),
                wrong(1, "context of 512", "perplexity", "--file", "pom.xml", "--ctx", "513"),
                wrong(1, "cannot be written", "logits", "--ids", "1", "-o", "/no/such/folder/x.safetensors"));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("refusals")
    void isRefusedInOneLine(List<String> args, int exit, String says) {
        Cli run = Cli.run(args.toArray(String[]::new));

        String errors = String.join("\n", run.err().lines().filter(line -> line.startsWith("millrace: ")).toList());
        assertThat(errors).as("stderr of %s: %s", args, run.err()).contains(says).hasLineCount(1);
        assertThat(run.err().lines().filter(line -> !line.startsWith("millrace: ") && !line.startsWith("executor: ")))
                .isEmpty();
        assertThat(run.out()).isEmpty();
        assertThat(run.exit()).isEqualTo(exit);
    }

    @Test
    void debugAddsTheStackTrace() {
        Cli run = Cli.run("generate", "-m", "/no/such/model", "x", "--debug");

        assertThat(run.exit()).isEqualTo(1);
        assertThat(run.err()).contains("millrace: /no/such/model").contains("\tat dev.millrace");
    }

    @Test
    void aTextThatIsNoUtf8IsRefused(@TempDir Path folder) throws IOException {
        Path file = Files.write(folder.resolve("latin1.txt"), new byte[] {'a', (byte) 0xE9, 'b', ' '});

        Cli run = Cli.run("perplexity", "--file", file.toString());

        assertThat(run.exit()).isEqualTo(1);
        assertThat(run.err()).contains("not UTF-8");
    }
}
