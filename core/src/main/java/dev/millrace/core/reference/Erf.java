package dev.millrace.core.reference;

/**
 * The error function to double precision: its Maclaurin series near zero, its continued fraction beyond (Abramowitz and
 * Stegun, Handbook of Mathematical Functions, 7.1.6 and 7.1.14).
 */
public final class Erf {
    private Erf() {}

    public static double erf(double x) {
        double a = Math.abs(x);
        double y = a < 2.5 ? series(a) : a < 6 ? 1 - complement(a) : 1;
        return Math.copySign(y, x);
    }

    /** 2/sqrt(pi) exp(-x^2) times the sum of 2^n x^(2n+1) / (1*3*...*(2n+1)): all terms positive, no cancellation. */
    private static double series(double x) {
        double term = x;
        double sum = x;
        for (int n = 1; term > sum * 1e-17; n++) {
            term *= 2 * x * x / (2 * n + 1);
            sum += term;
        }
        return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
    }

    private static double complement(double x) {
        double fraction = x;
        for (int n = 60; n >= 1; n--) {
            fraction = x + n / 2.0 / fraction;
        }
        return Math.exp(-x * x) / Math.sqrt(Math.PI) / fraction;
    }
}
