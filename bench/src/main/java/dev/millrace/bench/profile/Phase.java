package dev.millrace.bench.profile;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import java.util.List;

/**
 * A profiled step. Field names in JSON are a contract.
 *
 * @param phase {@code prefill} or {@code decode}
 * @param tokens processed in the step, of all sequences together
 * @param context positions before it
 * @param stepUs the step when nobody observes, median, microseconds
 * @param profiledUs the step while observed
 * @param sumUs of all ops
 * @param remainderUs stepUs less sumUs: what no op explains
 * @param readGbS read bandwidth measured round it
 */
@JsonPropertyOrder({
    "phase", "tokens", "context", "step_us", "profiled_us", "sum_us", "remainder_us", "read_gb_s", "percent_of_roof", "ops"
})
public record Phase(
        String phase,
        int tokens,
        int context,
        @JsonProperty("step_us") double stepUs,
        @JsonProperty("profiled_us") double profiledUs,
        @JsonProperty("sum_us") double sumUs,
        @JsonProperty("remainder_us") double remainderUs,
        @JsonProperty("read_gb_s") Double readGbS,
        @JsonProperty("percent_of_roof") Double percentOfRoof,
        List<OpRow> ops) {}
