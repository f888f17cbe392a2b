package dev.millrace.bench.report;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import dev.millrace.bench.measure.BenchRow;
import dev.millrace.bench.profile.Phase;
import java.util.List;
import java.util.Map;

/**
 * What {@code compare} measured, as it is written to {@code report.json} and shown in {@code report.html}. Field names
 * in JSON are a contract.
 *
 * @param command the command line that makes this report again
 * @param created when, ISO 8601, UTC
 * @param machine facts of the host: {@code os}, {@code java}, {@code processors}, ...
 * @param absent executors that could not take part, and why
 * @param runs one for every device and weight format
 * @param jmh results of JMH that were read with {@code --jmh}
 */
@JsonPropertyOrder({"model", "command", "created", "version", "machine", "absent", "runs", "jmh"})
public record Report(
        String model,
        String command,
        String created,
        String version,
        Map<String, Object> machine,
        Map<String, String> absent,
        List<Run> runs,
        List<Jmh> jmh) {

    /**
     * One device with one weight format. Rows, products and phases may grow while it is measured.
     *
     * @param label for tables and legends
     * @param costPerMonth as given with {@code --cost}; null where it was not
     * @param roofs what the device can do: kind to value, in {@code units}
     * @param rows tests as {@code bench} gives them
     * @param phases profiles as {@code profile} gives them
     * @param products latency multiplied by what the device has, one for each row
     */
    @JsonPropertyOrder({
        "label", "executor", "device", "detail", "weights", "cost_per_month", "memory", "roofs", "units", "rows", "products", "phases"
    })
    public record Run(
            String label,
            String executor,
            String device,
            String detail,
            String weights,
            @JsonProperty("cost_per_month") Double costPerMonth,
            Map<String, Long> memory,
            Map<String, Double> roofs,
            Map<String, String> units,
            List<BenchRow> rows,
            List<Product> products,
            List<Phase> phases) {}

    /**
     * The products by which devices of different price and size are compared: less is better.
     *
     * @param latencyMs of the test: the whole prompt, or one token
     * @param latencyCost milliseconds times cost per month; null without a cost
     * @param bandwidthLatency read bandwidth (GB/s) times seconds: gigabytes the memory could have delivered meanwhile
     * @param leastMs the least time by the roofs
     */
    public record Product(
            String test,
            @JsonProperty("latency_ms") double latencyMs,
            @JsonProperty("least_ms") Double leastMs,
            @JsonProperty("latency_cost") Double latencyCost,
            @JsonProperty("bandwidth_latency_gb") Double bandwidthLatency) {}

    /**
     * A benchmark's score from JMH's JSON results.
     *
     * @param error half the 99.9% confidence interval; null where JMH could not tell
     * @param figures its secondary metrics, such as {@code gigabytes} a second
     */
    public record Jmh(
            String benchmark, Map<String, String> params, double score, Double error, String unit, Map<String, Double> figures) {}
}
