package dev.millrace.models.cli;

import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Probe;
import dev.millrace.core.executor.RoofProbe;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** {@code devices}: every executor, available or not and why, and what its memory can deliver at most. */
@Command(name = "devices", description = "Lists every executor: its devices and measured peaks, or why it cannot run.")
final class DevicesCommand extends CliCommand {
    private static final int MEASURE_MILLIS = 400;

    @Mixin
    private OutputOptions output;

    /** One line of the answer: an executor's device, or an executor that has none. */
    private record Row(String executor, Device device, String reason, Double readGbS) {}

    @Override
    protected int run() {
        List<Row> rows = new ArrayList<>();
        for (Executors.Found found : Executors.discover()) {
            if (found.probe() instanceof Probe.Available(List<Device> devices)) {
                devices.forEach(device -> rows.add(measured(found, device)));
            } else {
                rows.add(new Row(found.name(), null, found.reason(), null));
            }
        }
        if (output.json()) {
            OutputOptions.print(out(), rows.stream().map(DevicesCommand::json).toList());
        } else {
            rows.forEach(row -> out().println(text(row)));
        }
        return 0;
    }

    private static Row measured(Executors.Found found, Device device) {
        try (Executor executor = found.provider().open(device.index(), ExecutorOptions.DEFAULT);
                RoofProbe roofs = executor.roofs()) {
            Double read = roofs.kinds().contains(RoofProbe.Kind.READ)
                    ? roofs.measure(RoofProbe.Kind.READ, 0, 0, MEASURE_MILLIS).median()
                    : null;
            return new Row(found.name(), device, null, read);
        }
    }

    private static Map<String, Object> json(Row row) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("executor", row.executor());
        json.put("available", row.device() != null);
        json.put("reason", row.reason());
        json.put("device", row.device() == null ? null : row.device().name());
        json.put("index", row.device() == null ? null : row.device().index());
        json.put("detail", row.device() == null ? null : row.device().detail());
        json.put("memory_bytes", row.device() == null ? null : row.device().memoryBytes());
        json.put("read_gb_s", row.readGbS());
        return json;
    }

    private static String text(Row row) {
        if (row.device() == null) {
            return "%-10s not available: %s".formatted(row.executor(), row.reason());
        }
        String read = row.readGbS() == null ? "" : String.format(Locale.ROOT, ", reads %.1f GB/s", row.readGbS());
        return "%-10s %d  %s, %s%s"
                .formatted(row.executor(), row.device().index(), row.device().name(), row.device().detail(), read);
    }
}
