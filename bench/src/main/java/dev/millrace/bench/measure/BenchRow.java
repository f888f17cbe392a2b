package dev.millrace.bench.measure;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;

/**
 * One measured test. Field names in JSON are a contract.
 *
 * @param model its name
 * @param weights format most bytes of its linear layers are in
 * @param math what products of f32 weights may round to: {@code f32} or {@code tf32}
 * @param kv how keys and values are kept
 * @param test {@code pp512}: reading a prompt of 512 tokens; {@code pp512-logits}: computing the logits of each of them;
 *     {@code tg128}: decoding 128 tokens, {@code tg128@d512} after 512; {@code seq256} and {@code seq256-nocache}: a
 *     whole sequence of 256 tokens with and without a key/value cache
 * @param tokensPerS median over the repeats, all sequences of the batch together
 * @param stddev of tokens per second over the repeats
 * @param bytesPerToken that must stream from memory for each token
 * @param gbS bytesPerToken times tokensPerS
 * @param readGbS read bandwidth measured right round this test, of a working set of this size
 * @param percentOfRoof the least time by both roofs over the time taken
 * @param roof which roof that is
 * @param ttftMs time to the first new token; prompts only
 * @param seconds of a whole sequence or of all logits
 */
@JsonInclude(JsonInclude.Include.ALWAYS)
@JsonPropertyOrder({
    "model", "weights", "executor", "device", "threads", "math", "kv", "batch", "test", "tokens_per_s", "stddev",
    "bytes_per_token", "gb_s", "read_gb_s", "gflop_s", "percent_of_roof", "roof", "ttft_ms", "seconds",
    "launches_per_token", "transfer_bytes_per_token", "repeats"
})
public record BenchRow(
        String model,
        String weights,
        String executor,
        String device,
        int threads,
        String math,
        String kv,
        int batch,
        String test,
        @JsonProperty("tokens_per_s") double tokensPerS,
        double stddev,
        @JsonProperty("bytes_per_token") long bytesPerToken,
        @JsonProperty("gb_s") double gbS,
        @JsonProperty("read_gb_s") Double readGbS,
        @JsonProperty("gflop_s") double gflopS,
        @JsonProperty("percent_of_roof") Double percentOfRoof,
        String roof,
        @JsonProperty("ttft_ms") Double ttftMs,
        Double seconds,
        @JsonProperty("launches_per_token") double launchesPerToken,
        @JsonProperty("transfer_bytes_per_token") double transferBytesPerToken,
        int repeats) {}
