package dev.millrace.bench.dist;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The JMH suite as {@code mvn -Pjmh} starts it: on the distribution, with a plugin that was dropped in. */
class JmhIT {
    @Test
    void aDroppedInExecutorJoinsTheSuiteAndCompareShowsItsScores(@TempDir Path folder) throws Exception {
        Path plugins = Files.createDirectory(folder.resolve("plugins"));
        Jars.pack(Jars.compileGuideExample(folder), plugins.resolve("tiny.jar"));
        Path result = folder.resolve("jmh.json");

        suite(plugins, folder.resolve("log"), "-rf", "json", "-rff", result.toString(),
                "Elementwise.* -p kernel=ADD -p tokens=3 -wi 0 -i 1 -r 200ms");
        Launcher compare = Launcher.run(Launcher.DIST, Map.of(), "compare", "-e", "cpu-simd", "-p", "4", "-n", "2", "-r", "1",
                "--jmh", result.toString(), "-o", folder.resolve("report").toString());

        assertThat(compare.exit()).as(compare.err()).isZero();
        JsonNode jmh = JsonMapper.shared().readTree(Files.readAllBytes(folder.resolve("report/report.json"))).get("jmh");
        assertThat(jmh.valueStream().map(j -> j.get("params").get("executor").stringValue()))
                .as(Files.readString(folder.resolve("log")))
                .contains("cpu-simd", "tiny");
        for (JsonNode score : jmh) {
            assertThat(score.get("benchmark").stringValue()).endsWith("ElementwiseBenchmark.elementwise");
            assertThat(score.get("score").doubleValue()).isPositive();
            assertThat(score.get("figures").get("gigaOperations").doubleValue()).isPositive();
        }
        assertThat(jmh.get(0).get("figures").get("percentOfComputeRoof").doubleValue()).isBetween(0.0, 100.0);
    }

    private static void suite(Path plugins, Path log, String... args) throws IOException, InterruptedException {
        String jmh = Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(jar -> jar.matches(".*/(jmh-core|jopt-simple|commons-math3)[^/]*\\.jar"))
                .collect(Collectors.joining(File.pathSeparator));
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(), "--add-modules=jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED", "-XX:+UseSerialGC", "-cp",
                Launcher.DIST.resolve("lib/*") + File.pathSeparator + plugins.resolve("*") + File.pathSeparator + jmh,
                "dev.millrace.bench.jmh.Suite"));
        command.addAll(List.of(args));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
        assertThat(process.waitFor()).as(Files.readString(log, StandardCharsets.UTF_8)).isZero();
    }
}
