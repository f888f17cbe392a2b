package dev.millrace.bench.dist;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The distribution as it is installed: the real script, a JVM of its own. */
class LauncherIT {
    /** Text from the first second on, and minutes of it. */
    private static final String[] MINUTES = {"generate", "Once", "-n", "400", "-e", "reference", "--no-kv-cache"};

    private static JsonNode json(Launcher run) {
        assertThat(run.exit()).as(run.err()).isZero();
        return JsonMapper.shared().readTree(run.out());
    }

    @Test
    void writesTextAndSaysWhichExecutorRan() {
        Launcher run = Launcher.run("generate", "Once upon a time", "-n", "8", "--seed", "3");

        assertThat(run.exit()).as(run.err()).isZero();
        assertThat(run.out().strip()).hasSizeGreaterThan(8);
        assertThat(run.said()).startsWith("executor: ").hasLineCount(1);
    }

    @Test
    void exitCodesPassThroughTheScript() {
        Launcher wrongLine = Launcher.run("generate", "x", "-n", "-1");
        Launcher failed = Launcher.run("generate", "-m", "/no/such/model", "x");

        assertThat(wrongLine.exit()).isEqualTo(2);
        assertThat(wrongLine.said()).startsWith("millrace: ").hasLineCount(1);
        assertThat(failed.exit()).isEqualTo(1);
        assertThat(failed.said()).startsWith("millrace: ").hasLineCount(1);
        assertThat(failed.out()).isEmpty();
    }

    @Test
    void aPromptBeyondAsciiArrivesWholeInAnyLocale() {
        // this JVM may run in a locale that cannot spell the prompt, so a shell does
        String shell = "exec \"$0\" generate \"$(printf 'Ein B\\303\\244r')\" -n 1 --temperature 0 --format json";
        JsonNode posix = shell(Map.of("LC_ALL", "C"), shell);
        JsonNode utf8 = shell(Map.of("LC_ALL", "C.UTF-8"), shell);

        assertThat(posix.get("prompt_ids")).isEqualTo(utf8.get("prompt_ids"));
        assertThat(posix.get("prompt_ids").size()).isGreaterThan(3);
    }

    private static JsonNode shell(Map<String, String> environment, String script) {
        try {
            ProcessBuilder builder = new ProcessBuilder("sh", "-c", script, Launcher.DIST.resolve("bin/millrace").toString())
                    .redirectError(ProcessBuilder.Redirect.DISCARD);
            builder.environment().putAll(environment);
            Process process = builder.start();
            String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            assertThat(process.waitFor()).isZero();
            return JsonMapper.shared().readTree(out);
        } catch (IOException | InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void worksThroughALinkFromAnywhere(@TempDir Path folder) throws IOException {
        Path link = Files.createSymbolicLink(Files.createDirectory(folder.resolve("bin")).resolve("millrace"),
                Launcher.DIST.resolve("bin/millrace"));

        Launcher run = Launcher.run(folder, Map.of(), "--version");

        assertThat(link).isSymbolicLink();
        assertThat(run.exit()).as(run.err()).isZero();
        assertThat(run.out()).startsWith("millrace 0.");
    }

    @Test
    void withoutAnyPluginEveryExecutorOfLibStillWorks(@TempDir Path folder) throws IOException {
        Path home = bare(folder);

        JsonNode devices = json(Launcher.run(home, Map.of(), "devices", "--format", "json"));
        Launcher run = Launcher.run(home, Map.of(), "generate", "The", "-n", "2", "--seed", "1");

        assertThat(devices.valueStream().map(d -> d.get("executor").stringValue())).contains("cpu-simd", "reference")
                .doesNotContain("cuda");
        assertThat(run.exit()).as(run.err()).isZero();
        assertThat(run.said()).contains("executor: cpu-simd");
    }

    @Test
    void aBrokenPluginIsOneLineInDevicesAndStopsNothing(@TempDir Path folder) throws IOException {
        Path services = Files.createDirectories(folder.resolve("broken/META-INF/services"));
        Files.writeString(services.resolve("dev.millrace.core.executor.ExecutorProvider"), "no.such.Provider\n");
        Path plugins = Files.createDirectory(folder.resolve("plugins"));
        Jars.pack(folder.resolve("broken"), plugins.resolve("broken.jar"));
        Map<String, String> environment = Map.of("MILLRACE_PLUGINS", plugins.toString());

        Launcher devices = Launcher.run(Launcher.DIST, environment, "devices");
        Launcher run = Launcher.run(Launcher.DIST, environment, "generate", "The", "-n", "2", "--seed", "1");

        assertThat(devices.out()).contains("no.such.Provider").contains("not available");
        assertThat(run.exit()).as(run.err()).isZero();
    }

    @Test
    void theExampleOfTheGuideIsAPluginThatPassesVerify(@TempDir Path folder) throws IOException {
        Path plugins = Files.createDirectory(folder.resolve("plugins"));
        Jars.pack(Jars.compileGuideExample(folder), plugins.resolve("tiny.jar"));
        Map<String, String> environment = Map.of("MILLRACE_PLUGINS", plugins.toString());

        Launcher verify = Launcher.run(Launcher.DIST, environment, "verify", "-e", "tiny", "--ids", "47,1450,652");
        JsonNode tiny = json(Launcher.run(Launcher.DIST, environment, "generate", "Once upon a time", "-e", "tiny", "-n", "12",
                "--temperature", "0", "--format", "json"));
        JsonNode cpu = json(Launcher.run("generate", "Once upon a time", "-e", "cpu-simd", "-n", "12", "--temperature", "0",
                "--format", "json"));

        assertThat(verify.exit()).as(verify.out() + verify.err()).isZero();
        assertThat(tiny.get("ids")).isEqualTo(cpu.get("ids"));
        assertThat(tiny.get("executor").stringValue()).isEqualTo("tiny");
    }

    @Test
    void anInterruptEndsItAtOnceWithTheSignalsExitCode() throws IOException, InterruptedException {
        Process process = Launcher.command(Launcher.DIST, Map.of(), MINUTES)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        assertThat(process.getInputStream().read()).isNotNegative();

        new ProcessBuilder("kill", "-INT", Long.toString(process.pid())).start().waitFor();

        assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
        assertThat(process.exitValue()).isEqualTo(130);
    }

    @Test
    void aReaderThatLeavesEndsIt() throws IOException, InterruptedException {
        Process process = Launcher.command(Launcher.DIST, Map.of(), MINUTES)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        assertThat(process.getInputStream().read()).isNotNegative();

        process.getInputStream().close();

        assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    }

    @Test
    void microbenchmarksStayOut() throws IOException {
        try (Stream<Path> jars = Files.list(Launcher.DIST.resolve("lib"))) {
            List<String> names = jars.map(jar -> jar.getFileName().toString()).toList();
            assertThat(names).noneMatch(name -> name.startsWith("jmh") || name.startsWith("jopt"))
                    .noneMatch(name -> name.contains("cuda"))
                    .anyMatch(name -> name.startsWith("millrace-models"));
        }
        assertThat(Launcher.DIST.resolve("models/millrace-classics-8m/model.safetensors")).isRegularFile();
    }

    /** A distribution without a plugins folder. */
    private static Path bare(Path folder) throws IOException {
        Path home = Files.createDirectories(folder.resolve("home/bin")).getParent();
        for (String script : List.of("millrace", "find-jdk.sh")) {
            Files.copy(Launcher.DIST.resolve("bin").resolve(script), home.resolve("bin").resolve(script),
                    StandardCopyOption.COPY_ATTRIBUTES);
        }
        Files.createSymbolicLink(home.resolve("lib"), Launcher.DIST.resolve("lib"));
        Files.createSymbolicLink(home.resolve("models"), Launcher.DIST.resolve("models"));
        return home;
    }
}
