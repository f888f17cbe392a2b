package dev.millrace.models.cli;

import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Probe;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code devices}: every executor, available or not and why, and what its memory can deliver at most. */
@Command(name = "devices", description = "Lists every executor: its devices and measured peaks, or why it cannot run.")
final class DevicesCommand extends CliCommand {
    @Mixin
    private OutputOptions output;

    @Option(names = "--refresh", description = "Measure the peaks again instead of showing those kept from an earlier run.")
    private boolean refresh;

    /** One line of the answer: an executor's device, or an executor that has none. */
    private record Row(String executor, Device device, String reason, DevicePeaks peaks) {}

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

    private Row measured(Executors.Found found, Device device) {
        return new Row(found.name(), device, null, DevicePeaks.of(found, device, refresh, this::say));
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
        json.put("read_gb_s", row.peaks() == null ? null : row.peaks().read());
        if (row.peaks() != null) {
            json.put("measured", row.peaks().measured());
            Map<String, Object> peaks = new LinkedHashMap<>();
            row.peaks().peaks().forEach((kind, value) -> peaks.put(
                    kind.name().toLowerCase(Locale.ROOT), Map.of("value", value, "unit", kind.unit())));
            json.put("peaks", peaks);
            json.put("read_ladder", row.peaks().ladder().stream()
                    .map(r -> Map.of("bytes", r.bytes(), "threads", r.threads(), "gb_s", r.gbS()))
                    .toList());
        }
        return json;
    }

    private static String text(Row row) {
        if (row.device() == null) {
            return "%-10s not available: %s".formatted(row.executor(), row.reason());
        }
        StringBuilder text = new StringBuilder("%-10s %d  %s, %s"
                .formatted(row.executor(), row.device().index(), row.device().name(), row.device().detail()));
        if (row.peaks().read() != null) {
            text.append(String.format(Locale.ROOT, ", reads %.1f GB/s", row.peaks().read()));
            text.append("%n             measured %s:".formatted(row.peaks().measured()));
            row.peaks().peaks().forEach((kind, value) -> text.append(String.format(
                    Locale.ROOT, " %s %.4g %s;", kind.name().toLowerCase(Locale.ROOT), value, kind.unit())));
        }
        int threads = -1;
        for (DevicePeaks.Rung rung : row.peaks().ladder()) {
            if (rung.threads() != threads) {
                threads = rung.threads();
                text.append("%n             reads by working set%s:".formatted(threads > 0 ? ", " + threads + " threads" : ""));
            }
            text.append(String.format(Locale.ROOT, " %s %.0f", size(rung.bytes()), rung.gbS()));
        }
        return text.toString();
    }

    private static String size(long bytes) {
        return bytes < 1 << 20 ? (bytes >> 10) + "K" : (bytes >> 20) + "M";
    }
}
