package dev.millrace.cpu.math;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.graph.Act;
import dev.millrace.cpu.Lanes;
import java.util.List;
import java.util.Random;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.Test;

/** Errors of the polynomials over dense ranges, against StrictMath in double. */
class VectorMathTest {
    private interface Loop {
        void run(float[] x, float[] y);
    }

    private static Loop act(Act act) {
        return (x, y) -> Elementwise.activate(act, x, 0, y, 0, x.length);
    }

    /** The largest error over 2^20 evenly spaced x, in ULP of the result, or of {@code scale(x)} if that is larger. */
    private static double worst(
            Loop loop, DoubleUnaryOperator exact, double from, double to, DoubleUnaryOperator scale) {
        int n = 1 << 20;
        float[] x = new float[n];
        float[] y = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) (from + (to - from) * i / (n - 1));
        }
        loop.run(x, y);
        double worst = 0;
        for (int i = 0; i < n; i++) {
            double want = exact.applyAsDouble(x[i]);
            double ulp = Math.ulp((float) Math.max(Math.abs(want), Math.abs(scale.applyAsDouble(x[i]))));
            worst = Math.max(worst, Math.abs(y[i] - want) / ulp);
        }
        return worst;
    }

    private static double worst(Loop loop, DoubleUnaryOperator exact, double from, double to) {
        return worst(loop, exact, from, to, x -> 0);
    }

    private static double gelu(double x) {
        // erfc by its continued fraction where 1 + erf would cancel, by the series of erf elsewhere
        double z = -x / Math.sqrt(2);
        if (z > 2) {
            double fraction = z;
            for (int n = 80; n >= 1; n--) {
                fraction = z + n / 2.0 / fraction;
            }
            return 0.5 * x * StrictMath.exp(-z * z) / Math.sqrt(Math.PI) / fraction;
        }
        double a = Math.abs(z);
        if (a > 5) {
            return x;
        }
        double term = a;
        double sum = a;
        for (int n = 1; term > 1e-18 * sum; n++) {
            term *= 2 * a * a / (2 * n + 1);
            sum += term;
        }
        double erf = 2 / Math.sqrt(Math.PI) * StrictMath.exp(-a * a) * sum;
        return 0.5 * x * (1 + Math.copySign(erf, x));
    }

    private static double geluTanh(double x) {
        double u = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x);
        return x / (1 + StrictMath.exp(-2 * u));
    }

    @Test
    void tanhIsWithin4Ulp() {
        assertThat(worst(act(Act.TANH), StrictMath::tanh, -20, 20)).isLessThan(4);
        assertThat(worst(act(Act.TANH), StrictMath::tanh, -1e-3, 1e-3)).isLessThan(4);
    }

    @Test
    void siluIsWithin4Ulp() {
        assertThat(worst(act(Act.SILU), x -> x / (1 + StrictMath.exp(-x)), -87, 40)).isLessThan(4);
    }

    @Test
    void geluIsWithin8UlpAboveMinus5AndWithin4UlpOfItsArgumentBeyond() {
        assertThat(worst(act(Act.GELU), VectorMathTest::gelu, -5, 30)).isLessThan(8);
        assertThat(worst(act(Act.GELU), VectorMathTest::gelu, -80, 80, x -> x)).isLessThan(4);
    }

    @Test
    void geluTanhIsWithin4UlpAboveMinus1AndWithin2UlpOfItsArgumentBeyond() {
        assertThat(worst(act(Act.GELU_TANH), VectorMathTest::geluTanh, -1, 30)).isLessThan(4);
        assertThat(worst(act(Act.GELU_TANH), VectorMathTest::geluTanh, -30, 30, x -> x)).isLessThan(2);
    }

    @Test
    void functionsOfHugeNumbersAreTheirLimits() {
        for (Act act : Act.values()) {
            float huge = act == Act.GELU ? 1e18f : 1e30f; // GELU squares it
            float[] x = new float[Lanes.COUNT];
            x[0] = huge;
            x[1] = -huge;
            Elementwise.activate(act, x, 0, x, 0, 2);
            assertThat(x[0]).as("%s of %s", act, huge).isEqualTo(act == Act.TANH ? 1 : huge);
            assertThat(x[1] + 0f).as("%s of -%s", act, huge).isEqualTo(act == Act.TANH ? -1f : 0f);
        }
    }

    @Test
    void everyPositionGivesWhatFirstPositionsGiveAndNothingOutsideWholeVectorsIsWritten() {
        Random random = new Random(7);
        for (Act act : Act.values()) {
            for (int n = 1; n < 70; n++) {
                int whole = Lanes.padded(n);
                float[] x = new float[whole + 3];
                for (int i = 0; i < x.length; i++) {
                    x[i] = (float) random.nextGaussian() * 3;
                }
                float[] y = new float[whole + 5];
                Elementwise.activate(act, x, 3, y, 4, n);
                float[] one = new float[Lanes.COUNT];
                for (int i = 0; i < n; i++) {
                    one[0] = x[3 + i];
                    Elementwise.activate(act, one, 0, one, 0, 1);
                    assertThat(y[4 + i]).as("%s, %d of %d, seed 7", act, i, n).isEqualTo(one[0]);
                }
                assertThat(y[3]).isZero();
                assertThat(y[whole + 4]).isZero();
            }
        }
    }

    @Test
    void gatesMultiplyWhatActivationsGive() {
        Random random = new Random(8);
        for (Act act : Act.values()) {
            for (int n : new int[] {1, 31, 64, 64 * Lanes.COUNT, 64 * Lanes.COUNT + 17}) {
                float[] gate = new float[Lanes.padded(n) + 1];
                float[] up = new float[Lanes.padded(n) + 2];
                for (int i = 0; i < gate.length; i++) {
                    gate[i] = (float) random.nextGaussian();
                    up[i] = (float) random.nextGaussian();
                }
                float[] want = gate.clone();
                Elementwise.activate(act, want, 1, want, 1, n);
                Elementwise.gate(act, gate, 1, up, 2, gate, 1, n);
                for (int i = 0; i < n; i++) {
                    assertThat(gate[1 + i]).as("%s, %d of %d, seed 8", act, i, n).isEqualTo(want[1 + i] * up[2 + i]);
                }
            }
        }
    }

    @Test
    void normsAreWithin8UlpOfTheTermsTheyAddUp() {
        Random random = new Random(11);
        for (int n : new int[] {1, 2, 3, 16, 64, 65, 100, 768, 1000, 4096, 8192}) {
            for (double mean : new double[] {0, 0.3, 7, 100}) {
                double[] worst = worstNorms(n, mean, random);
                for (int kind = 0; kind < worst.length; kind++) {
                    assertThat(worst[kind])
                            .as("%s of %d round %s deviations, seed 11", List.of("layer", "RMS", "RMS, bias").get(kind), n, mean)
                            .isLessThan(8);
                }
            }
        }
    }

    /**
     * The largest errors of a layer norm, in ULP of |gain| (|x| + mean |x|) / deviation + |bias|, which may cancel; of an RMS
     * norm without a bias, a product, in ULP of the result itself; and of one with a bias, in ULP of |product| + |bias|.
     */
    private static double[] worstNorms(int n, double mean, Random random) {
        float[] x = new float[n];
        float[] gain = new float[n];
        float[] bias = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) ((random.nextGaussian() + mean) * 3);
            gain[i] = (float) random.nextGaussian();
            bias[i] = (float) random.nextGaussian();
        }
        double sum = 0;
        double size = 0;
        double squares = 0;
        for (float v : x) {
            sum += v;
            size += Math.abs(v) / n;
            squares += v * (double) v;
        }
        double center = sum / n;
        double variance = 0;
        for (float v : x) {
            variance += (v - center) * (v - center) / n;
        }
        double deviation = StrictMath.sqrt(variance + 1e-5f);
        double rms = StrictMath.sqrt(squares / n + 1e-5f);
        double[] worst = new double[3];
        float[] y = new float[n];
        Norms.layer(x, 0, y, 0, n, gain, bias, 1e-5f);
        for (int i = 0; i < n; i++) {
            double terms = Math.abs(gain[i]) * (Math.abs(x[i]) + size) / deviation + Math.abs(bias[i]);
            double want = (x[i] - center) / deviation * gain[i] + bias[i];
            worst[0] = Math.max(worst[0], Math.abs(y[i] - want) / Math.ulp((float) terms));
        }
        Norms.rms(x, 0, y, 0, n, gain, null, 1e-5f);
        for (int i = 0; i < n; i++) {
            double want = x[i] / rms * gain[i];
            worst[1] = Math.max(worst[1], Math.abs(y[i] - want) / Math.ulp((float) want));
        }
        Norms.rms(x, 0, y, 0, n, gain, bias, 1e-5f);
        for (int i = 0; i < n; i++) {
            double want = x[i] / rms * gain[i] + bias[i];
            double terms = Math.abs(x[i] / rms * gain[i]) + Math.abs(bias[i]);
            worst[2] = Math.max(worst[2], Math.abs(y[i] - want) / Math.ulp((float) terms));
        }
        return worst;
    }
}
