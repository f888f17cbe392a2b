package dev.millrace.bench.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.bench.cli.RowWriter.Format;
import dev.millrace.bench.measure.BenchRow;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class RowWriterTest {
    private static final BenchRow PROMPT = new BenchRow(
            "a \"model\", of mine", "int4", "cuda", "a device", 0, "f32", "f16", 2, "pp512", 1234.5, 6.25, 1_500_000, 1.85, 30.5,
            99.5, 41.25, "compute", 12.5, null, 0.25, 40, 3);
    private static final BenchRow DECODE = new BenchRow(
            "m", "f32", "cpu-simd", "another", 2, "f32", "f32", 1, "tg128", 70.5, 0, 500_000_000, 35.25, null, 70.5, null, null,
            null, null, 1, 0, 3);

    private static String written(Format format) {
        StringWriter text = new StringWriter();
        try (RowWriter writer = new RowWriter(new PrintWriter(text), format)) {
            writer.write(PROMPT);
            writer.write(DECODE);
        }
        return text.toString();
    }

    @Test
    void jsonIsOneArrayAndJsonlAnObjectALine() {
        JsonNode array = JsonMapper.shared().readTree(written(Format.json));
        List<JsonNode> lines = written(Format.jsonl).lines().map(JsonMapper.shared()::readTree).toList();

        assertThat(array).hasSize(2);
        assertThat(lines).containsExactly(array.get(0), array.get(1));
        assertThat(array.get(0).get("transfer_bytes_per_token").doubleValue()).isEqualTo(40);
        assertThat(array.get(1).get("percent_of_roof").isNull()).isTrue();
    }

    @Test
    void csvQuotesWhatNeedsIt() {
        List<String> lines = written(Format.csv).lines().toList();

        assertThat(lines).hasSize(3);
        assertThat(lines.get(0)).startsWith("model,weights,executor,").endsWith(",repeats");
        assertThat(lines.get(1)).startsWith("\"a \"\"model\"\", of mine\",int4,cuda,a device,0,");
        assertThat(lines.get(2).split(",", -1)).hasSameSizeAs(lines.get(0).split(","));
    }

    @Test
    void markdownRowsHaveTheColumnsOfTheirHead() {
        List<String> lines = written(Format.md).lines().toList();

        assertThat(lines).hasSize(4).allSatisfy(line -> assertThat(cells(line)).hasSameSizeAs(cells(lines.get(0))));
        assertThat(lines.get(3)).contains("| tg128 | 70.50 |").contains("| 500.0 | 0 |");
    }

    private static String[] cells(String line) {
        return line.split("\\|");
    }

    @Test
    void theEndIsPrintedOnceWhoeverClosesFirst() {
        StringWriter text = new StringWriter();
        RowWriter writer = new RowWriter(new PrintWriter(text), Format.json);
        writer.write(DECODE);
        writer.close();
        writer.close();
        assertThat(JsonMapper.shared().readTree(text.toString())).hasSize(1);
    }
}
