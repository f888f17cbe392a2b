package dev.millrace.bench.report;

import dev.millrace.bench.report.Report.Jmh;
import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Reads the JSON that JMH writes with {@code -rf json}. */
public final class JmhResults {
    private JmhResults() {}

    /** @throws MillraceException when the file cannot be read or is not JMH's */
    public static List<Jmh> read(Path file) {
        try {
            JsonNode all = JsonMapper.shared().readTree(Files.readAllBytes(file));
            List<Jmh> results = new ArrayList<>();
            for (JsonNode one : all) {
                JsonNode metric = one.path("primaryMetric");
                if (!metric.path("score").isNumber()) {
                    throw wrong(file, "primaryMetric.score is no number", null);
                }
                Map<String, String> params = new TreeMap<>();
                one.path("params").properties().forEach(p -> params.put(p.getKey(), p.getValue().asString()));
                Map<String, Double> figures = new LinkedHashMap<>();
                one.path("secondaryMetrics").properties().forEach(m -> figures.put(m.getKey(), score(m.getValue(), "score")));
                results.add(new Jmh(
                        one.path("benchmark").asString(),
                        params,
                        score(metric, "score"),
                        score(metric, "scoreError"),
                        metric.path("scoreUnit").asString(),
                        figures));
            }
            return results;
        } catch (JacksonException e) {
            throw wrong(file, e.getOriginalMessage(), e);
        } catch (IOException e) {
            throw new MillraceException("JMH results " + file + " cannot be read: " + e.getMessage(), e);
        }
    }

    /** JMH writes what it cannot tell, such as the error of a single sample, as the text NaN. */
    private static Double score(JsonNode metric, String field) {
        return metric.path(field).isNumber() ? metric.get(field).asDouble() : null;
    }

    private static MillraceException wrong(Path file, String why, Exception cause) {
        return new MillraceException(
                "JMH results " + file + ": " + why + "; write them with JMH's options -rf json -rff FILE", cause);
    }
}
