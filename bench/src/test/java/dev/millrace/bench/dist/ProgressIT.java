package dev.millrace.bench.dist;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Commands that take long, on a terminal and off it, to their end and not. */
class ProgressIT {
    /** Slow enough for a bar on any machine: a scalar executor, several seconds a timing. */
    private static final String[] SLOW = {"bench", "-e", "reference", "-p", "160", "-n", "0", "-r", "1"};

    /** How long a process is given at most until it has something to tell. */
    private static final int MOST_SECONDS = 90;

    private static final Path SCRIPT = Path.of("/usr/bin/script");

    @Test
    void aTerminalGetsABarAndAPipeDoesNot(@TempDir Path folder) throws IOException, InterruptedException {
        assumeTrue(Files.isExecutable(SCRIPT), "no " + SCRIPT + " to make a terminal with");
        Path typescript = folder.resolve("typescript");
        String command = Launcher.DIST.resolve("bin/millrace") + " " + String.join(" ", SLOW);
        Process terminal = new ProcessBuilder(SCRIPT.toString(), "-qec", command, typescript.toString())
                .redirectErrorStream(true)
                .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                .redirectOutput(folder.resolve("out").toFile())
                .start();
        assertThat(terminal.waitFor()).isZero();
        String shown = Files.readString(typescript, StandardCharsets.UTF_8);
        assertThat(shown).contains("bench reference").contains("pp160").contains("0/1");
        assertThat(shown.substring(shown.lastIndexOf('\r'))).as("the bar is gone at the end").doesNotContain("bench reference");

        Launcher piped = Launcher.run(SLOW);
        assertThat(piped.exit()).isZero();
        assertThat(piped.said()).startsWith("executor: reference").hasLineCount(1);
    }

    @Test
    void anInterruptedBenchPrintsTheRowsThatAreFinished() throws IOException, InterruptedException {
        // into the second test, whose single step outlasts the JVM's patience
        for (int seconds = 6; ; seconds *= 2) {
            Process process = start("bench", "-e", "reference", "-p", "1,400", "-n", "0", "-r", "1", "-B", "6", "--format", "json");
            interrupt(process, seconds);
            JsonNode rows = JsonMapper.shared().readTree(process.getInputStream().readAllBytes());
            assertThat(process.waitFor()).isEqualTo(130);
            assertThat(rows.isArray()).isTrue();
            if (rows.isEmpty() && seconds < MOST_SECONDS) {
                continue; // a busy machine: it had not come so far
            }
            assertThat(rows.valueStream().map(row -> row.get("test").stringValue())).containsExactly("pp1");
            return;
        }
    }

    @Test
    void anInterruptedCompareWritesTheReportOfWhatIsFinished(@TempDir Path folder) throws IOException, InterruptedException {
        for (int seconds = 7; ; seconds *= 2) {
            Process process = start(
                    "compare", "-e", "cpu-simd", "--weights", "native,int8,int4", "-r", "3", "-n", "64", "-o", folder.toString());
            interrupt(process, seconds);
            assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
            assertThat(process.exitValue()).isEqualTo(130);
            Path written = folder.resolve("report.json");
            JsonNode runs = JsonMapper.shared().readTree(Files.readAllBytes(written)).get("runs");
            if (runs.isEmpty() && seconds < MOST_SECONDS) {
                continue;
            }
            assertThat(runs.size()).isBetween(1, 3);
            assertThat(runs.get(0).get("roofs").get("READ").doubleValue()).isPositive();
            assertThat(folder.resolve("report.html")).isRegularFile();
            return;
        }
    }

    private static Process start(String... arguments) throws IOException {
        return Launcher.command(Launcher.DIST, Map.of(), arguments)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
    }

    private static void interrupt(Process process, int seconds) throws IOException, InterruptedException {
        TimeUnit.SECONDS.sleep(seconds);
        new ProcessBuilder("kill", "-INT", Long.toString(process.pid())).start().waitFor();
    }
}
