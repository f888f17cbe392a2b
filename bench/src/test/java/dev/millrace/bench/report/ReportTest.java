package dev.millrace.bench.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.millrace.bench.measure.BenchRow;
import dev.millrace.bench.profile.OpRow;
import dev.millrace.bench.profile.Phase;
import dev.millrace.bench.report.Report.Product;
import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class ReportTest {
    private static final String HOSTILE = "m</script><script>document.title='broken'</script>";

    @TempDir
    private Path directory;

    private static BenchRow row(String executor, String test, double rate, Double ttft) {
        return new BenchRow(
                HOSTILE, "int4", executor, "a device", 2, "f32", "f32", 1, test, rate, 0.5, 1000, 1.5, 30.0, 2.5, 80.0, "memory",
                ttft, null, 1, 4, 3);
    }

    private static Report.Run run(String executor, double speed) {
        OpRow op = new OpRow("layer.0.attn.qkv", "FusedLinear", "matmul", List.of("layer.0.attn.q"), 10 / speed, 1000, 2000, 3, 4, 50.0, "memory");
        OpRow sample = new OpRow("sample", "Sampler", "sampling", List.of("sample"), 1, 0, 0, 0, 0, null, "latency");
        return new Report.Run(
                executor + " int4", executor, "a device", "detail", "int4", 500.0,
                Map.of("weights", 1L << 20, "mapped", 0L, "scratch", 0L, "cache_per_token", 4096L),
                Map.of("READ", 30 * speed, "COMPUTE", 200 * speed),
                Map.of("READ", "GB/s", "COMPUTE", "GFLOP/s"),
                List.of(
                        row(executor, "pp16", 100 * speed, 5.0), row(executor, "pp64", 200 * speed, 9.0),
                        row(executor, "tg32", 20 * speed, null), row(executor, "tg128", 19 * speed, null)),
                List.of(new Product("tg32", 50 / speed, 40 / speed, 25000 / speed, 1.5)),
                List.of(
                        new Phase("prefill", 64, 0, 100, 101, 99, 1, 30.0, 70.0, List.of(op)),
                        new Phase("decode", 1, 64, 12, 13, 11, 1, 30.0, 80.0, List.of(op, sample))));
    }

    private Report report() {
        return new Report(
                HOSTILE, "millrace compare -m " + HOSTILE, "2026-01-01T00:00:00Z", "1", Map.of("os", "Linux"),
                Map.of("cuda", "no NVIDIA driver"), List.of(run("cpu-simd", 1), run("cuda", 40)), List.of());
    }

    @Test
    void theJsonHoldsTheFieldsOfTheContract() throws IOException {
        ReportWriter.write(report(), directory.resolve("made/for/it"));
        JsonNode json = JsonMapper.shared().readTree(Files.readAllBytes(directory.resolve("made/for/it/report.json")));
        JsonNode row = json.get("runs").get(0).get("rows").get(2);
        for (String field : List.of(
                "model", "weights", "executor", "device", "threads", "test", "tokens_per_s", "stddev", "bytes_per_token",
                "gb_s", "read_gb_s", "percent_of_roof", "ttft_ms")) {
            assertThat(row.has(field)).as(field).isTrue();
        }
        assertThat(row.get("tokens_per_s").asDouble()).isEqualTo(20);
        assertThat(json.get("runs").get(1).get("phases").get(1).get("ops").get(0).get("path").asString())
                .isEqualTo("layer.0.attn.qkv");
    }

    @Test
    void noTextOfTheDataCanLeaveItsScriptElement() throws IOException {
        ReportWriter.write(report(), directory);
        String html = Files.readString(directory.resolve("report.html"));
        assertThat(html).doesNotContain(HOSTILE).contains("\\u003c/script>");
        assertThat(html).doesNotContain("<script src").doesNotContain("<link").as("self-contained");
    }

    @Test
    void aBrowserDrawsEveryPlotAndTable() throws IOException, InterruptedException {
        Path browser = Path.of("/usr/bin/chromium");
        assumeTrue(Files.isExecutable(browser), "no " + browser + "; install Debian's chromium to run this test");
        ReportWriter.write(report(), directory);
        Path dom = directory.resolve("dom.html");
        Process process = new ProcessBuilder(
                        browser.toString(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                        "--disable-background-networking", "--disable-component-update", "--disable-sync",
                        "--user-data-dir=" + directory.resolve("profile"), "--window-size=390,800", "--dump-dom",
                        directory.resolve("report.html").toUri().toString())
                .redirectOutput(dom.toFile())
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
        String page = Files.readString(dom, StandardCharsets.UTF_8);
        String body = page.substring(page.indexOf("<main"), page.indexOf("</main>"));
        assertThat(body.split("<svg", -1)).as("time to first token, decoding, roofline, prefill, decode").hasSize(6);
        assertThat(body.split("<table", -1)).as("speed, latency, slowest ops, memory").hasSize(5);
        assertThat(Pattern.compile("viewBox=\"0 0 (\\d+)").matcher(body).results().map(m -> Integer.parseInt(m.group(1))))
                .as("plots are drawn as wide as a narrow window, so that their text stays readable")
                .hasSize(5).allMatch(width -> width > 250 && width < 500);
        assertThat(body).contains("cpu-simd int4", "cuda int4", "cuda took no part: no NVIDIA driver", "layer.0.attn.qkv");
        assertThat(page).contains("<title>Millrace report</title>").as("no script in the data ran");
        assertThat(body).doesNotContain("NaN").doesNotContain("undefined");
    }

    @Test
    void jmhResultsAreReadAndAnythingElseIsRefused() throws IOException {
        Path file = directory.resolve("jmh.json");
        Files.writeString(file, """
                [{"benchmark": "dev.millrace.X.decode", "params": {"weights": "int4"},
                  "primaryMetric": {"score": 12.5, "scoreError": "NaN", "scoreUnit": "ms/op"},
                  "secondaryMetrics": {"gigabytes": {"score": 30.5, "scoreUnit": "ops/s"}}}]""");
        assertThat(JmhResults.read(file))
                .containsExactly(new Report.Jmh(
                        "dev.millrace.X.decode", Map.of("weights", "int4"), 12.5, null, "ms/op", Map.of("gigabytes", 30.5)));
        Files.writeString(file, "[{\"benchmark\": \"x\"}]");
        assertThatThrownBy(() -> JmhResults.read(file)).isInstanceOf(MillraceException.class).hasMessageContaining("primaryMetric.score");
        Files.writeString(file, "not json");
        assertThatThrownBy(() -> JmhResults.read(file)).isInstanceOf(MillraceException.class).hasMessageContaining("-rf json");
        assertThatThrownBy(() -> JmhResults.read(directory.resolve("absent.json"))).isInstanceOf(MillraceException.class);
    }
}
