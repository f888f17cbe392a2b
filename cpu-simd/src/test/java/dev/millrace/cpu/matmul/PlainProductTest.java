package dev.millrace.cpu.matmul;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.EnumSet;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PlainProductTest {
    /** As many tokens as take the way through blocks. */
    private static final int MOST = 40;

    /** Whichever way the first products of a process are computed, seeds give the same text. */
    @ParameterizedTest
    @CsvSource({"F32, 1", "F32, 2", "F32, 7", "F16, 1", "F16, 9", "BF16, 1", "BF16, 20"})
    void plainLoopsGiveTheVeryBitsOfTheKernels(String format, int tokens) {
        UnpackedKernels kernels = kernels(format);
        int inputs = 137;
        Random random = new Random(tokens);
        try (Arena arena = Arena.ofConfined(); Activations x = new Activations(MOST, inputs, 1, EnumSet.of(Form.FLOATS))) {
            long panel = packed(kernels, format, inputs, random, arena);
            float[] data = new float[tokens * inputs];
            for (int i = 0; i < data.length; i++) {
                data[i] = (float) random.nextGaussian();
            }
            x.rows = new Rows(data, 0, inputs);
            x.tokens = tokens;
            float[] warm = new float[Math.ceilDiv(tokens, Activations.BLOCK) * Activations.BLOCK * Panel.ROWS];
            float[] few = new float[warm.length];
            kernels.few(panel, inputs, x, few);
            if (tokens == 1) {
                kernels.gemv(panel, inputs, x, 0, warm, 0);
            } else {
                x.fillBlocks(inputs, 0, 1);
                long weights = kernels.unpack(panel, 0, inputs, x.panel(0, 0));
                for (int b = 0; b < x.tokenBlocks(); b++) {
                    int at = b * Activations.BLOCK * Panel.ROWS;
                    Microkernel.multiply(x.blocks, x.at(b, 0, inputs), weights, inputs, warm, at, true);
                }
            }
            float[] cold = new float[warm.length];
            PlainProduct.sums(kernels, panel, inputs, x, 0, tokens, cold);
            for (int i = 0; i < tokens * Panel.ROWS; i++) {
                assertThat(cold[i]).as("sum %d", i).isEqualTo(warm[i]).isEqualTo(few[i]).isNotZero();
            }
        }
    }

    private static UnpackedKernels kernels(String format) {
        return switch (format) {
            case "F32" -> F32Panels.INSTANCE;
            case "F16" -> F16Panels.INSTANCE;
            default -> Bf16Panels.INSTANCE;
        };
    }

    private static long packed(UnpackedKernels kernels, String format, int inputs, Random random, Arena arena) {
        MemorySegment rows = arena.allocate(4L * Panel.ROWS * inputs, 64);
        for (int i = 0; i < Panel.ROWS * inputs; i++) {
            float w = (float) random.nextGaussian();
            switch (format) {
                case "F32" -> rows.setAtIndex(ValueLayout.JAVA_FLOAT, i, w);
                case "F16" -> rows.setAtIndex(ValueLayout.JAVA_SHORT, i, Float.floatToFloat16(w));
                default -> rows.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits(w) >>> 16));
            }
        }
        MemorySegment panel = arena.allocate(kernels.panelBytes(inputs), 64);
        kernels.pack(rows, inputs, panel.address());
        return panel.address();
    }
}
