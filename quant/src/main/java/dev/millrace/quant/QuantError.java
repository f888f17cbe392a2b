package dev.millrace.quant;

import dev.millrace.core.tensor.Weight;
import java.util.List;
import java.util.stream.LongStream;

/**
 * How far a weight is from the one it stands for.
 *
 * @param maxAbs the largest difference of two elements
 * @param rms the root of the mean squared difference
 * @param relativeRms {@code rms} over the root mean square of the exact elements; 0 where both are zero
 */
public record QuantError(double maxAbs, double rms, double relativeRms) {
    private static final int CHUNK = 1 << 16;

    /**
     * Reads both weights, on all cores; the figures do not depend on how many there are.
     *
     * @throws IllegalArgumentException when the shapes differ
     */
    public static QuantError between(Weight exact, Weight approximate) {
        if (!exact.shape().equals(approximate.shape())) {
            throw new IllegalArgumentException(exact.name() + " " + exact.shape() + " and " + approximate.shape());
        }
        long rows = exact.shape().rows();
        long step = Math.clamp(CHUNK / exact.shape().columns(), 1, rows);
        List<Sums> parts = LongStream.range(0, Math.ceilDiv(rows, step))
                .parallel()
                .mapToObj(i -> Sums.of(exact, approximate, i * step, (int) Math.min(step, rows - i * step)))
                .toList();
        double most = 0;
        double squares = 0;
        double power = 0;
        for (Sums part : parts) {
            most = Math.max(most, part.most());
            squares += part.squares();
            power += part.power();
        }
        double relative = squares == 0 ? 0 : power == 0 ? Double.POSITIVE_INFINITY : Math.sqrt(squares / power);
        return new QuantError(most, Math.sqrt(squares / exact.shape().elements()), relative);
    }

    private record Sums(double most, double squares, double power) {
        static Sums of(Weight exact, Weight approximate, long row, int count) {
            float[] a = new float[Math.toIntExact(count * exact.shape().columns())];
            float[] b = new float[a.length];
            exact.decodeRows(row, count, a, 0);
            approximate.decodeRows(row, count, b, 0);
            double most = 0;
            double squares = 0;
            double power = 0;
            for (int i = 0; i < a.length; i++) {
                double difference = Math.abs((double) a[i] - b[i]);
                most = Math.max(most, difference);
                squares += difference * difference;
                power += (double) a[i] * a[i];
            }
            return new Sums(most, squares, power);
        }
    }
}
