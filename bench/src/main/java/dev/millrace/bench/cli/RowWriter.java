package dev.millrace.bench.cli;

import dev.millrace.bench.measure.BenchRow;
import dev.millrace.models.cli.OutputOptions;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import tools.jackson.databind.json.JsonMapper;

/** Prints rows as they are finished, or all at the end where the format needs it. */
final class RowWriter implements AutoCloseable {
    /** How rows are printed. */
    enum Format {
        text,
        md,
        csv,
        json,
        jsonl
    }

    private static final List<String> COLUMNS = List.of(
            "model", "weights", "executor", "threads", "kv", "batch", "test", "tokens/s", "+-", "GB/s", "read GB/s", "GFLOP/s",
            "% of roof", "roof", "TTFT ms", "seconds", "launches/token", "MB/token", "copied B/token");
    private static final List<String> CSV_COLUMNS = List.of(
            "model", "weights", "executor", "device", "threads", "math", "kv", "batch", "test", "tokens_per_s", "stddev",
            "bytes_per_token", "gb_s", "read_gb_s", "gflop_s", "percent_of_roof", "roof", "ttft_ms", "seconds",
            "launches_per_token", "transfer_bytes_per_token", "repeats");

    private final PrintWriter out;
    private final Format format;
    private final List<BenchRow> rows = new ArrayList<>();
    private int[] widths;
    private boolean closed;

    RowWriter(PrintWriter out, Format format) {
        this.out = out;
        this.format = format;
    }

    synchronized void write(BenchRow row) {
        boolean first = rows.isEmpty();
        rows.add(row);
        switch (format) {
            case text -> {
                if (first) {
                    widths = COLUMNS.stream().mapToInt(c -> Math.max(c.length(), 8)).toArray();
                    widths[0] = Math.max(row.model().length(), 5);
                    widths[2] = Math.max(row.executor().length() + 2, 9);
                    out.println(padded(COLUMNS));
                }
                out.println(padded(cells(row)));
            }
            case md -> {
                if (first) {
                    out.println("| " + String.join(" | ", COLUMNS) + " |");
                    out.println("|" + String.join("|", Collections.nCopies(COLUMNS.size(), "---")) + "|");
                }
                out.println("| " + String.join(" | ", cells(row)) + " |");
            }
            case csv -> {
                if (first) {
                    out.println(String.join(",", CSV_COLUMNS));
                }
                out.println(csv(row));
            }
            case jsonl -> out.println(JsonMapper.shared().writeValueAsString(row));
            case json -> {
                // an array, printed when it is whole
            }
        }
        out.flush();
    }

    List<BenchRow> rows() {
        return rows;
    }

    /** Ends the output; once, whoever comes first. */
    @Override
    public synchronized void close() {
        if (format == Format.json && !closed) {
            OutputOptions.print(out, rows);
        }
        closed = true;
    }

    private static List<String> cells(BenchRow r) {
        return List.of(
                r.model(), weights(r), r.executor(), String.valueOf(r.threads()), r.kv(), String.valueOf(r.batch()), r.test(),
                number(r.tokensPerS()), number(r.stddev()), number(r.gbS()), number(r.readGbS()), number(r.gflopS()),
                number(r.percentOfRoof()), r.roof() == null ? "-" : r.roof(), number(r.ttftMs()), number(r.seconds()),
                number(r.launchesPerToken()),
                number(r.bytesPerToken() * 1e-6), number(r.transferBytesPerToken()));
    }

    /** The weights' format, with the precision of its products where that is another. */
    private static String weights(BenchRow r) {
        return r.weights().equals("f32") && !r.math().equals("f32") ? "f32/" + r.math() : r.weights();
    }

    private static String csv(BenchRow r) {
        var tree = JsonMapper.shared().valueToTree(r);
        List<String> cells = new ArrayList<>();
        for (String column : CSV_COLUMNS) {
            String cell = tree.get(column).isNull() ? "" : tree.get(column).asString();
            cells.add(cell.matches(".*[\",\n].*") ? '"' + cell.replace("\"", "\"\"") + '"' : cell);
        }
        return String.join(",", cells);
    }

    private String padded(List<String> cells) {
        StringBuilder line = new StringBuilder();
        for (int i = 0; i < cells.size(); i++) {
            boolean left = i < 3 || i == 6 || i == 13;
            line.append(("%" + (left ? "-" : "") + widths[i] + "s  ").formatted(cells.get(i)));
        }
        return line.toString().stripTrailing();
    }

    /** Four significant digits, as a person reads a table. */
    static String number(Double x) {
        if (x == null || x.isNaN()) {
            return "-";
        }
        int decimals = x == 0 ? 0 : Math.clamp(3 - (int) Math.floor(Math.log10(Math.abs(x))), 0, 3);
        return String.format(Locale.ROOT, "%." + decimals + "f", x);
    }
}
