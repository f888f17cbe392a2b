package dev.millrace.models.cli;

import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors.Found;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.executor.RoofProbe.Kind;
import dev.millrace.models.CacheDirectory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/**
 * What a device can do at most, measured once and kept in {@link CacheDirectory}. Figures of runs stand beside roofs
 * measured in the same run; these are for looking at.
 *
 * @param key executor, device and Java that were measured
 * @param measured when, ISO 8601
 * @param peaks kind of roof to its median
 * @param ladder read bandwidth by working set and threads, from a cache's to memory's
 */
record DevicePeaks(String key, String measured, Map<Kind, Double> peaks, List<Rung> ladder) {
    private static final int MILLIS = 300;
    private static final int RUNG_MILLIS = 60;
    private static final long SMALLEST = 32L << 10;
    private static final long LARGEST = 512L << 20;

    /** One step of the ladder; {@code threads} 0 where the device has none. */
    record Rung(long bytes, int threads, double gbS) {}

    /** Read bandwidth, GB/s; null where the executor does not measure it. */
    Double read() {
        return peaks.get(Kind.READ);
    }

    /**
     * The peaks of a device: those kept from an earlier run, or measured now and kept.
     *
     * @param refresh measures in any case
     * @param notes takes a line when they could not be kept
     */
    static DevicePeaks of(Found found, Device device, boolean refresh, Consumer<String> notes) {
        String key = found.name() + " " + device.index() + ": " + device.name() + ", " + device.detail() + ", Java "
                + System.getProperty("java.vm.version");
        Path file = CacheDirectory.path().resolve("peaks.json");
        Map<String, DevicePeaks> all = new TreeMap<>();
        for (DevicePeaks kept : read(file)) {
            all.put(kept.key(), kept);
        }
        if (refresh || !all.containsKey(key)) {
            all.put(key, measure(key, found, device));
            try {
                write(file, List.copyOf(all.values()));
            } catch (IOException e) {
                notes.accept("the measured peaks are shown but not kept in " + file + ": " + e
                        + "; set MILLRACE_CACHE to a directory that can be written");
            }
        }
        return all.get(key);
    }

    private static DevicePeaks measure(String key, Found found, Device device) {
        try (Executor executor = found.provider().open(device.index(), ExecutorOptions.DEFAULT);
                RoofProbe roofs = executor.roofs();
                Progress progress = Progress.of("peaks of " + found.name(), roofs.kinds().size())) {
            Map<Kind, Double> peaks = new TreeMap<>();
            for (Kind kind : roofs.kinds()) {
                Interrupt.check();
                peaks.put(kind, roofs.measure(kind, 0, 0, MILLIS).median());
                progress.step();
            }
            List<Rung> ladder = new ArrayList<>();
            if (roofs.kinds().contains(Kind.READ)) {
                int most = executor.threads();
                for (int threads = Math.min(1, most); threads <= most; threads = Math.max(threads + 1, Math.min(2 * threads, most))) {
                    for (long bytes = SMALLEST; bytes <= LARGEST; bytes *= 4) {
                        Interrupt.check();
                        progress.waiting();
                        ladder.add(new Rung(bytes, threads, roofs.measure(Kind.READ, threads, bytes, RUNG_MILLIS).median()));
                    }
                }
            }
            return new DevicePeaks(key, Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(), peaks, ladder);
        }
    }

    /** A cache that cannot be read is as good as none: it is made anew. */
    private static List<DevicePeaks> read(Path file) {
        try {
            return Files.isRegularFile(file)
                    ? List.of(JsonMapper.shared().readValue(Files.readAllBytes(file), DevicePeaks[].class))
                    : List.of();
        } catch (IOException | JacksonException e) {
            return List.of();
        }
    }

    private static void write(Path file, List<DevicePeaks> all) throws IOException {
        Files.createDirectories(file.getParent());
        Path partial = Files.createTempFile(file.getParent(), "peaks", ".partial");
        Files.write(partial, JsonMapper.shared().writeValueAsBytes(all));
        Files.move(partial, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }
}
