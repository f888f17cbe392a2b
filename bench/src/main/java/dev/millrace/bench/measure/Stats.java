package dev.millrace.bench.measure;

import java.util.Arrays;

/**
 * What several measurements of one thing say together.
 *
 * @param stddev of the sample; 0 for a single measurement
 */
public record Stats(double median, double stddev, double min, double max, int count) {
    /** @throws IllegalArgumentException when there is no sample */
    public static Stats of(double... samples) {
        if (samples.length == 0) {
            throw new IllegalArgumentException("no samples");
        }
        double[] sorted = samples.clone();
        Arrays.sort(sorted);
        int n = sorted.length;
        double median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
        double mean = Arrays.stream(sorted).sum() / n;
        double squares = Arrays.stream(sorted).map(x -> (x - mean) * (x - mean)).sum();
        return new Stats(median, n > 1 ? Math.sqrt(squares / (n - 1)) : 0, sorted[0], sorted[n - 1], n);
    }
}
