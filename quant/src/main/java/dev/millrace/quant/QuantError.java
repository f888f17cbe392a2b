package dev.millrace.quant;

import dev.millrace.core.tensor.Weight;

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
     * Reads both weights row by row.
     *
     * @throws IllegalArgumentException when the shapes differ
     */
    public static QuantError between(Weight exact, Weight approximate) {
        if (!exact.shape().equals(approximate.shape())) {
            throw new IllegalArgumentException(exact.name() + " " + exact.shape() + " and " + approximate.shape());
        }
        long rows = exact.shape().rows();
        int columns = Math.toIntExact(exact.shape().columns());
        int step = (int) Math.clamp(CHUNK / columns, 1, rows);
        float[] a = new float[step * columns];
        float[] b = new float[step * columns];
        double most = 0;
        double squares = 0;
        double power = 0;
        for (long row = 0; row < rows; row += step) {
            int some = (int) Math.min(step, rows - row);
            exact.decodeRows(row, some, a, 0);
            approximate.decodeRows(row, some, b, 0);
            for (int i = 0; i < some * columns; i++) {
                double difference = Math.abs((double) a[i] - b[i]);
                most = Math.max(most, difference);
                squares += difference * difference;
                power += (double) a[i] * a[i];
            }
        }
        double rms = Math.sqrt(squares / exact.shape().elements());
        return new QuantError(most, rms, power == 0 ? (squares == 0 ? 0 : Double.POSITIVE_INFINITY) : Math.sqrt(squares / power));
    }
}
