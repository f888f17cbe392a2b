package dev.millrace.cpu.matmul;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.Act;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.cpu.pool.WorkerPool;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Every format's products against sums in double precision. */
class PackedLinearTest {
    private static final WorkerPool POOL = new WorkerPool(2);
    private static final int[] TOKENS = {1, 2, 3, 4, 5, 8, 17, 64, 100, 131};

    @AfterAll
    static void close() {
        POOL.close();
    }

    static Stream<Arguments> shapes() {
        List<Arguments> shapes = new ArrayList<>();
        for (WeightFormat format : formats()) {
            shapes.add(Arguments.of(format, 1, 32));
            shapes.add(Arguments.of(format, 31, 96));
            shapes.add(Arguments.of(format, 96, 544));
            shapes.add(Arguments.of(format, 200, 1056));
            if (!format.quantized()) {
                shapes.add(Arguments.of(format, 33, 1));
                shapes.add(Arguments.of(format, 70, 77));
                shapes.add(Arguments.of(format, 45, 1031));
            }
        }
        return shapes.stream();
    }

    static List<WeightFormat> formats() {
        return Stream.of(WeightFormat.values()).filter(PackedLinear::supports).toList();
    }

    @ParameterizedTest
    @MethodSource("shapes")
    void everyFormatAgreesWithDoublePrecisionForEveryNumberOfTokens(WeightFormat format, int outputs, int inputs) {
        Random random = new Random(outputs * 31L + inputs);
        RandomWeight weight = new RandomWeight(format, outputs, inputs, random);
        for (int tokens : TOKENS) {
            float[] x = input(random, tokens * inputs);
            float[] y = apply(List.of(weight), false, x, tokens, Epilogue.NONE, null);
            assertThat(error(y, expected(weight, x, tokens)))
                    .as("relative error of %s, %d tokens, seed %d", format, tokens, outputs * 31L + inputs)
                    .isLessThan(tolerance(format));
        }
    }

    @ParameterizedTest
    @EnumSource(Act.class)
    void gatedMapMultipliesTheActivatedGateByTheValues(Act act) {
        Random random = new Random(5);
        RandomWeight gate = new RandomWeight(WeightFormat.F32, 77, 64, random);
        RandomWeight up = new RandomWeight(WeightFormat.F16, 77, 64, random);
        float[] bias = input(random, 2 * 77);
        for (int tokens : TOKENS) {
            float[] x = input(random, tokens * 64);
            float[] y = apply(List.of(gate, up), true, x, tokens, new Epilogue(bias, act), null);
            double[] g = expected(gate, x, tokens);
            double[] u = expected(up, x, tokens);
            for (int i = 0; i < g.length; i++) {
                g[i] = act(act, g[i] + bias[i % 77]) * (u[i] + bias[77 + i % 77]);
            }
            assertThat(error(y, g)).as("%s, %d tokens", act, tokens).isLessThan(1e-5);
        }
    }

    @Test
    void partsOfDifferentFormatsLieSideBySideWithBiasActivationAndResidual() {
        Random random = new Random(6);
        RandomWeight q = new RandomWeight(WeightFormat.Q4_0, 40, 96, random);
        RandomWeight k = new RandomWeight(WeightFormat.Q8_0, 33, 96, random);
        RandomWeight v = new RandomWeight(WeightFormat.BF16, 65, 96, random);
        int outputs = 40 + 33 + 65;
        float[] bias = input(random, outputs);
        for (int tokens : TOKENS) {
            float[] x = input(random, tokens * 96);
            float[] residual = input(random, tokens * outputs);
            float[] y = apply(List.of(q, k, v), false, x, tokens, new Epilogue(bias, Act.RELU), residual);
            double[] expected = new double[tokens * outputs];
            int at = 0;
            for (RandomWeight part : List.of(q, k, v)) {
                double[] sums = expected(part, x, tokens);
                int rows = part.values.length;
                for (int t = 0; t < tokens; t++) {
                    for (int r = 0; r < rows; r++) {
                        expected[t * outputs + at + r] = Math.max(0, sums[t * rows + r] + bias[at + r]);
                    }
                }
                at += rows;
            }
            for (int i = 0; i < expected.length; i++) {
                expected[i] += residual[i];
            }
            assertThat(error(y, expected)).as("%d tokens", tokens).isLessThan(5e-3);
        }
    }

    @ParameterizedTest
    @MethodSource("formats")
    void aTokensResultDoesNotDependOnTheTokensBesideIt(WeightFormat format) {
        Random random = new Random(7);
        int inputs = 1056;
        RandomWeight weight = new RandomWeight(format, 100, inputs, random);
        float[] x = input(random, 19 * inputs);
        float[] together = apply(List.of(weight), false, x, 19, Epilogue.NONE, null);
        for (int t = 0; t < 19; t++) {
            float[] alone =
                    apply(List.of(weight), false, Arrays.copyOfRange(x, t * inputs, (t + 1) * inputs), 1, Epilogue.NONE, null);
            float[] row = Arrays.copyOfRange(together, t * 100, (t + 1) * 100);
            if (format == WeightFormat.Q8_0) {
                double[] wide = new double[100];
                Arrays.setAll(wide, i -> row[i]);
                assertThat(error(alone, wide)).isLessThan(2e-6);
            } else {
                assertThat(alone).as("%s, token %d", format, t).containsExactly(row);
            }
        }
    }

    /** Of so much input several panels are multiplied together, of a part of it each alone. */
    @ParameterizedTest
    @MethodSource("formats")
    void panelsMultipliedTogetherGiveTheBitsOfPanelsAlone(WeightFormat format) {
        Random random = new Random(8);
        int inputs = 4128;
        int tokens = 512;
        int outputs = 17 * Panel.ROWS - 5;
        RandomWeight weight = new RandomWeight(format, outputs, inputs, random);
        float[] x = input(random, tokens * inputs);
        float[] together = apply(List.of(weight), false, x, tokens, Epilogue.NONE, null);
        float[] alone = apply(List.of(weight), false, Arrays.copyOf(x, 100 * inputs), 100, Epilogue.NONE, null);
        float[] first = Arrays.copyOf(together, alone.length);
        if (format == WeightFormat.Q8_0) {
            double[] wide = new double[first.length];
            Arrays.setAll(wide, i -> first[i]);
            assertThat(error(alone, wide)).isLessThan(2e-6);
        } else {
            assertThat(alone).as("%s, seed 8", format).containsExactly(first);
        }
    }

    @Test
    void gatesAndValuesMultipliedTogetherGiveTheBitsOfPanelsAlone() {
        Random random = new Random(9);
        int inputs = 4128;
        int outputs = 17 * Panel.ROWS - 5;
        RandomWeight gate = new RandomWeight(WeightFormat.Q4_0, outputs, inputs, random);
        RandomWeight up = new RandomWeight(WeightFormat.F16, outputs, inputs, random);
        float[] x = input(random, 512 * inputs);
        Epilogue epilogue = new Epilogue(null, Act.SILU);
        float[] together = apply(List.of(gate, up), true, x, 512, epilogue, null);
        float[] alone = apply(List.of(gate, up), true, Arrays.copyOf(x, 100 * inputs), 100, epilogue, null);
        assertThat(alone).as("seed 9").containsExactly(Arrays.copyOf(together, alone.length));
    }

    @ParameterizedTest
    @CsvSource({"F32, 17, 45, false", "F16, 131, 544, false", "BF16, 64, 1031, false", "F16, 100, 77, true", "F32, 300, 1056, true"})
    void whatIsWrittenInBlocksForTheNextMapGivesTheBitsOfRows(WeightFormat format, int tokens, int inner, boolean gated) {
        Random random = new Random(10);
        List<Weight> first = new ArrayList<>();
        for (int i = 0; i < (gated ? 2 : 1); i++) {
            first.add(new RandomWeight(format, inner, 64, random));
        }
        Epilogue epilogue = new Epilogue(input(random, (gated ? 2 : 1) * inner), gated ? Act.SILU : Act.GELU_TANH);
        RandomWeight second = new RandomWeight(format, 70, inner, random);
        float[] x = input(random, tokens * 64);
        float[][] y = new float[2][tokens * 70];
        try (WeightMemory memory = new WeightMemory()) {
            PackedLinear up = PackedLinear.pack(first, gated, POOL, memory);
            PackedLinear down = PackedLinear.pack(List.of(second), false, POOL, memory);
            assertThat(down.warm()).isTrue();
            assertThat(down.readsBlocks(tokens)).isTrue();
            for (int blocks = 0; blocks < 2; blocks++) {
                float[] between = new float[Activations.padded(tokens) * inner];
                Arrays.fill(between, Float.NaN);
                Rows middle = new Rows(between, 0, inner, blocks == 1);
                Rows xs = new Rows(x, 0, 64);
                Rows ys = new Rows(y[blocks], 0, 70);
                try (Activations scratch = new Activations(tokens, Math.max(64, inner), 2, up.forms())) {
                    POOL.run((worker, workers) -> {
                        up.apply(xs, tokens, epilogue, null, middle, scratch, POOL, worker);
                        POOL.barrier(worker);
                        down.apply(middle, tokens, Epilogue.NONE, null, ys, scratch, POOL, worker);
                    });
                }
            }
        }
        assertThat(y[1]).as("seed 10").containsExactly(y[0]).doesNotContain(Float.NaN);
    }

    @Test
    void onlyManyTokensOfFloatFormatsAreReadInBlocks() {
        Random random = new Random(11);
        try (WeightMemory memory = new WeightMemory()) {
            PackedLinear floats = PackedLinear.pack(List.of(new RandomWeight(WeightFormat.F16, 40, 64, random)), false, POOL, memory);
            PackedLinear bytes = PackedLinear.pack(List.of(new RandomWeight(WeightFormat.Q8_0, 40, 64, random)), false, POOL, memory);
            assertThat(floats.readsBlocks(17)).isTrue();
            assertThat(floats.readsBlocks(16)).isFalse();
            assertThat(bytes.readsBlocks(512)).isFalse();
        }
    }

    @Test
    void partsOfDifferentInputsAreRefusedByName() {
        Random random = new Random(8);
        Weight a = new RandomWeight(WeightFormat.F32, 4, 32, random);
        Weight b = new RandomWeight(WeightFormat.F16, 4, 64, random);
        try (WeightMemory memory = new WeightMemory()) {
            assertThatThrownBy(() -> PackedLinear.pack(List.of(a, b), false, POOL, memory))
                    .isInstanceOf(MillraceException.class)
                    .hasMessageContaining("random F16 has 64 inputs");
            assertThatThrownBy(() -> PackedLinear.pack(List.of(a, b), true, POOL, memory))
                    .isInstanceOf(MillraceException.class)
                    .hasMessageContaining("gated");
        }
    }

    private static float[] apply(
            List<Weight> weights, boolean gated, float[] x, int tokens, Epilogue epilogue, float[] residual) {
        try (WeightMemory memory = new WeightMemory()) {
            PackedLinear linear = PackedLinear.pack(weights, gated, POOL, memory);
            int inputs = linear.inputs();
            int outputs = linear.outputs();
            // views with an offset and a stride of their own
            float[] in = new float[7 + tokens * (inputs + 3)];
            float[] out = new float[5 + tokens * (outputs + 9)];
            Arrays.fill(out, Float.NaN);
            for (int t = 0; t < tokens; t++) {
                System.arraycopy(x, t * inputs, in, 7 + t * (inputs + 3), inputs);
            }
            Rows xs = new Rows(in, 7, inputs + 3);
            Rows ys = new Rows(out, 5, outputs + 9);
            Rows rs = residual == null ? null : new Rows(residual, 0, outputs);
            try (Activations scratch = new Activations(tokens, inputs, 2, linear.forms())) {
                POOL.run((worker, workers) -> linear.apply(xs, tokens, epilogue, rs, ys, scratch, POOL, worker));
            }
            float[] y = new float[tokens * outputs];
            for (int t = 0; t < tokens; t++) {
                System.arraycopy(out, ys.at(t), y, t * outputs, outputs);
                for (int i = outputs; i < outputs + 9 && ys.at(t) + i < out.length; i++) {
                    assertThat(out[ys.at(t) + i]).as("written past the row").isNaN();
                }
            }
            return y;
        }
    }

    private static double[] expected(RandomWeight weight, float[] x, int tokens) {
        int outputs = weight.values.length;
        int inputs = weight.values[0].length;
        double[] y = new double[tokens * outputs];
        for (int t = 0; t < tokens; t++) {
            for (int r = 0; r < outputs; r++) {
                double sum = 0;
                for (int k = 0; k < inputs; k++) {
                    sum += weight.values[r][k] * x[t * inputs + k];
                }
                y[t * outputs + r] = sum;
            }
        }
        return y;
    }

    private static double act(Act act, double x) {
        return switch (act) {
            case GELU -> x * 0.5 * (1 + erf(x / Math.sqrt(2)));
            case GELU_TANH -> 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
            case RELU -> Math.max(0, x);
            case SILU -> x / (1 + Math.exp(-x));
            case TANH -> Math.tanh(x);
        };
    }

    /** The error function by its Taylor series, for |x| of a few. */
    private static double erf(double x) {
        double sum = 0;
        double term = x;
        for (int n = 0; n < 200; n++) {
            sum += term / (2 * n + 1);
            term *= -x * x / (n + 1);
        }
        return 2 / Math.sqrt(Math.PI) * sum;
    }

    private static double error(float[] found, double[] expected) {
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < expected.length; i++) {
            difference += (found[i] - expected[i]) * (found[i] - expected[i]);
            norm += expected[i] * expected[i];
        }
        return Math.sqrt(difference / norm);
    }

    /** Rounding of float32 sums, and for int4 that of activations to 8 bits. */
    private static double tolerance(WeightFormat format) {
        return format.quantized() && format != WeightFormat.Q8_0 ? 3e-2 : 3e-6;
    }

    private static float[] input(Random random, int n) {
        float[] x = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) random.nextGaussian();
        }
        return x;
    }
}
