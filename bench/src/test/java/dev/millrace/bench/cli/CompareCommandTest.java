package dev.millrace.bench.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.millrace.models.cli.Main;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class CompareCommandTest {
    private static final String[] TESTS = {"-e", "cpu-simd", "--weights", "int8", "-p", "16", "-n", "8", "-r", "3", "--threads", "1"};

    /** A factor that other processes on the machine do not reach, and milliseconds taken for seconds pass. */
    private static final double DISTURBED = 100;

    @TempDir
    private Path folder;

    private static String run(String command, String... more) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        List<String> line = new ArrayList<>(List.of(command));
        line.addAll(List.of(TESTS));
        line.addAll(List.of(more));
        assertThat(Main.run(line.toArray(String[]::new), new PrintWriter(out), new PrintWriter(err))).as(err.toString()).isZero();
        return out.toString();
    }

    private static Map<String, JsonNode> byTest(JsonNode rows) {
        return rows.valueStream().collect(Collectors.toMap(row -> row.get("test").stringValue(), row -> row));
    }

    @Test
    void itsNumbersAgreeWithBenchAndWithEachOther() throws IOException {
        Map<String, JsonNode> bench = byTest(JsonMapper.shared().readTree(run("bench", "--format", "json")));
        run("compare", "--cost", "cpu-simd=500", "-o", folder.toString());
        JsonNode run = JsonMapper.shared().readTree(Files.readAllBytes(folder.resolve("report.json"))).get("runs").get(0);
        Map<String, JsonNode> products = byTest(run.get("products"));

        assertThat(byTest(run.get("rows"))).hasSize(2).allSatisfy((test, row) -> {
            for (String same : List.of("model", "weights", "executor", "device", "threads", "kv", "batch", "bytes_per_token",
                    "launches_per_token", "transfer_bytes_per_token", "repeats")) {
                assertThat(row.get(same)).as(test + " " + same).isEqualTo(bench.get(test).get(same));
            }
            double rate = row.get("tokens_per_s").doubleValue();
            assertThat(rate / bench.get(test).get("tokens_per_s").doubleValue()).as(test).isBetween(1 / DISTURBED, DISTURBED);
            assertThat(row.get("gb_s").doubleValue())
                    .isCloseTo(rate * row.get("bytes_per_token").longValue() * 1e-9, within(1e-3 * row.get("gb_s").doubleValue()));
            JsonNode product = products.get(test);
            double ms = test.equals("pp16") ? 16e3 / rate : 1e3 / rate;
            assertThat(product.get("latency_ms").doubleValue()).isCloseTo(ms, within(1e-6 * ms));
            assertThat(product.get("latency_cost").doubleValue()).isCloseTo(500 * ms, within(1e-3 * ms));
            assertThat(product.get("bandwidth_latency_gb").doubleValue())
                    .isCloseTo(row.get("read_gb_s").doubleValue() * ms * 1e-3, within(1e-6 * ms));
            assertThat(product.get("least_ms").doubleValue() / ms)
                    .isCloseTo(row.get("percent_of_roof").doubleValue() / 100, within(1e-6));
        });
        assertThat(run.get("memory").get("weights").longValue()).isPositive();
        assertThat(run.get("phases")).hasSize(2);
        assertThat(run.get("roofs").get("COMPUTE").doubleValue()).isPositive();
    }
}
