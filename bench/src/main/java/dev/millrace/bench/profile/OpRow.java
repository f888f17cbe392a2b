package dev.millrace.bench.profile;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import java.util.List;

/**
 * One op of a profiled step. Field names in JSON are a contract.
 *
 * @param op its kind: {@code FusedLinear}, {@code SelfAttention}, ...
 * @param covers paths of the unfused ops it stands for
 * @param us mean time in the middle half of the timings, microseconds
 * @param bytes that must stream from memory: weights, keys and values
 * @param roof {@code memory}, {@code compute}, or {@code latency} where the least time by both is below the cost of
 *     handing work to the device
 * @param percentOfRoof the least time over the time taken; null for {@code latency} and where nothing was measured
 */
@JsonPropertyOrder({"path", "op", "group", "covers", "us", "bytes", "flops", "gb_s", "gflop_s", "percent_of_roof", "roof"})
public record OpRow(
        String path,
        String op,
        String group,
        List<String> covers,
        double us,
        long bytes,
        long flops,
        @JsonProperty("gb_s") double gbS,
        @JsonProperty("gflop_s") double gflopS,
        @JsonProperty("percent_of_roof") Double percentOfRoof,
        String roof) {}
