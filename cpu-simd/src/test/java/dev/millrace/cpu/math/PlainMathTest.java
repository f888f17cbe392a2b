package dev.millrace.cpu.math;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.millrace.core.graph.Act;
import dev.millrace.cpu.Lanes;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class PlainMathTest {
    @ParameterizedTest
    @EnumSource(Act.class)
    void plainActivationsAreThoseOfVectors(Act act) {
        int n = 1000;
        float[] x = new float[Lanes.padded(n) + 1];
        for (int i = 0; i < n; i++) {
            x[i + 1] = -12 + 24f * i / n;
        }
        float[] plain = new float[x.length];
        float[] vectors = new float[x.length];
        PlainMath.activate(act, x, 1, plain, 1, n);
        Elementwise.activateVectors(act, x, 1, vectors, 1, n);
        for (int i = 1; i <= n; i++) {
            assertThat(plain[i]).as("%s(%s)", act, x[i]).isCloseTo(vectors[i], within(8 * Math.ulp(Math.abs(x[i]))));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 20, 64, 257, 1000})
    void plainNormsAreThoseOfVectors(int n) {
        Random random = new Random(n);
        float[] x = random(n + 2, random);
        float[] gain = random(n, random);
        float[] bias = random(n, random);
        for (float[] b : new float[][] {bias, null}) {
            float[] plain = new float[n + 3];
            float[] vectors = new float[n + 3];
            PlainMath.normalize(x, 2, plain, 3, n, gain, b, 1e-5f, PlainMath.mean(x, 2, n));
            Norms.layerVectors(x, 2, vectors, 3, n, gain, b, 1e-5f);
            assertThat(plain).as("layer norm, seed %d", n).containsExactly(vectors, within(1e-5f));
            PlainMath.normalize(x, 2, plain, 3, n, gain, b, 1e-5f, 0);
            Norms.rmsVectors(x, 2, vectors, 3, n, gain, b, 1e-5f);
            assertThat(plain).as("RMS norm, seed %d", n).containsExactly(vectors, within(1e-5f));
        }
    }

    private static float[] random(int n, Random random) {
        float[] x = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) random.nextGaussian() + 0.5f;
        }
        return x;
    }
}
