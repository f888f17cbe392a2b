package dev.millrace.models.verify;

/**
 * How far an executor's result of one node is from the reference's.
 *
 * @param path the node
 * @param op its kind
 * @param prefill errors with all tokens at once
 * @param decode errors with one token after the other; null where that is no different question
 * @param tolerance most relative error allowed
 */
public record OpCheck(String path, String op, Errors prefill, Errors decode, double tolerance) {
    /**
     * Errors over all elements.
     *
     * @param max largest absolute error
     * @param rms root of the mean square error
     * @param relative rms over the root mean square of the reference
     */
    public record Errors(double max, double rms, double relative) {
        static Errors of(float[] found, float[] expected) {
            double max = 0;
            double error = 0;
            double size = 0;
            for (int i = 0; i < expected.length; i++) {
                double difference = Math.abs((double) found[i] - expected[i]);
                // a NaN or infinity on one side only must not compare as small
                if (!Double.isFinite(difference)) {
                    return new Errors(Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY);
                }
                max = Math.max(max, difference);
                error += difference * difference;
                size += (double) expected[i] * expected[i];
            }
            double relative = size > 0 ? Math.sqrt(error / size) : error > 0 ? Double.POSITIVE_INFINITY : 0;
            return new Errors(max, Math.sqrt(error / expected.length), relative);
        }
    }

    /** The larger of the relative errors. */
    public double relative() {
        return decode == null ? prefill.relative() : Math.max(prefill.relative(), decode.relative());
    }

    public boolean passed() {
        return relative() <= tolerance;
    }
}
