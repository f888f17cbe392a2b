package dev.millrace.bench.profile;

import dev.millrace.bench.profile.StepRecorder.Event;
import dev.millrace.bench.profile.StepRecorder.Step;
import dev.millrace.core.MillraceException;
import dev.millrace.core.profile.OpGroup;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import tools.jackson.databind.json.JsonMapper;

/**
 * Writes observed steps in the Trace Event Format that chrome://tracing and Perfetto open: one process, one thread per
 * lane (ops, workers, stream, host), complete events with times in microseconds on one clock.
 */
public final class ChromeTrace {
    private ChromeTrace() {}

    /**
     * Writes {@code steps} to {@code file}, time 0 at the first of them.
     *
     * @throws MillraceException when the file cannot be written
     */
    public static void write(Path file, String process, List<Step> steps) {
        long zero = steps.stream()
                .flatMap(s -> s.events().stream())
                .mapToLong(Event::startNanos)
                .min()
                .orElse(0);
        Map<String, Integer> lanes = new LinkedHashMap<>();
        List<Map<String, Object>> events = new ArrayList<>();
        events.add(name("process_name", 0, process));
        for (Step step : steps) {
            for (Event event : step.events()) {
                int lane = lanes.computeIfAbsent(event.lane(), l -> lanes.size() + 1);
                events.add(complete(event, lane, zero));
            }
        }
        lanes.forEach((lane, id) -> events.add(name("thread_name", id, lane)));
        try {
            Files.writeString(file, JsonMapper.shared().writeValueAsString(Map.of("traceEvents", events)));
        } catch (IOException e) {
            throw new MillraceException("the trace cannot be written to " + file + ": " + e + "; choose another --trace", e);
        }
    }

    private static Map<String, Object> name(String what, int thread, String name) {
        return Map.of("ph", "M", "pid", 1, "tid", thread, "name", what, "args", Map.of("name", name));
    }

    private static Map<String, Object> complete(Event event, int lane, long zero) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("ph", "X");
        json.put("pid", 1);
        json.put("tid", lane);
        json.put("name", event.name());
        json.put("cat", event.node() == null ? "span" : OpGroup.of(event.node().op()).name().toLowerCase(Locale.ROOT));
        json.put("ts", (event.startNanos() - zero) * 1e-3);
        json.put("dur", event.micros());
        if (event.node() != null) {
            json.put("args", Map.of("op", event.node().op().getClass().getSimpleName(), "covers", event.node().covers()));
        }
        return json;
    }
}
