package dev.millrace.cpu.matmul;

import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;

/** A weight of random values, with the values in double precision beside the bytes. */
final class RandomWeight implements Weight {
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;

    final double[][] values;
    private final WeightFormat format;
    private final byte[] bytes;

    RandomWeight(WeightFormat format, int rows, int columns, Random random) {
        this.format = format;
        values = new double[rows][columns];
        long rowBytes = format.rowBytes(columns);
        bytes = new byte[Math.toIntExact(rows * rowBytes)];
        MemorySegment all = MemorySegment.ofArray(bytes);
        for (int r = 0; r < rows; r++) {
            MemorySegment row = all.asSlice(r * rowBytes, rowBytes);
            switch (format) {
                case F32, F16, BF16 -> {
                    for (int k = 0; k < columns; k++) {
                        values[r][k] = dense(row, k, (float) (random.nextGaussian() * 0.05));
                    }
                }
                default -> {
                    for (int g = 0; g < columns / 32; g++) {
                        block(row.asSlice((long) g * format.blockBytes()), r, 32 * g, random);
                    }
                }
            }
        }
    }

    private double dense(MemorySegment row, int k, float value) {
        switch (format) {
            case F32 -> {
                row.set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * k, value);
                return value;
            }
            case F16 -> {
                short half = Float.floatToFloat16(value);
                row.set(SHORT, 2L * k, half);
                return Float.float16ToFloat(half);
            }
            default -> {
                int bits = Float.floatToIntBits(value) & 0xFFFF0000;
                row.set(SHORT, 2L * k, (short) (bits >>> 16));
                return Float.intBitsToFloat(bits);
            }
        }
    }

    private void block(MemorySegment block, int r, int k, Random random) {
        short d = Float.floatToFloat16((float) (random.nextGaussian() * 0.01));
        double scale = Float.float16ToFloat(d);
        block.set(SHORT, 0, d);
        if (format == WeightFormat.Q8_0) {
            for (int i = 0; i < 32; i++) {
                byte q = (byte) random.nextInt(-128, 128);
                block.set(ValueLayout.JAVA_BYTE, 2 + i, q);
                values[r][k + i] = q * scale;
            }
            return;
        }
        boolean minimum = format == WeightFormat.Q4_1;
        short m = Float.floatToFloat16((float) (random.nextGaussian() * 0.1));
        if (minimum) {
            block.set(SHORT, 2, m);
        }
        double offset = minimum ? Float.float16ToFloat(m) : -8 * scale;
        for (int i = 0; i < 16; i++) {
            int q = random.nextInt(256);
            block.set(ValueLayout.JAVA_BYTE, (minimum ? 4 : 2) + i, (byte) q);
            values[r][k + i] = (q & 15) * scale + offset;
            values[r][k + 16 + i] = (q >> 4) * scale + offset;
        }
    }

    @Override
    public String name() {
        return "random " + format;
    }

    @Override
    public Shape shape() {
        return new Shape(values.length, values[0].length);
    }

    @Override
    public WeightFormat format() {
        return format;
    }

    @Override
    public void copyRows(long from, long count, MemorySegment target) {
        long rowBytes = format.rowBytes(values[0].length);
        MemorySegment.copy(MemorySegment.ofArray(bytes), from * rowBytes, target, 0, count * rowBytes);
    }

    @Override
    public void decodeRows(long from, long count, float[] target, int offset) {
        for (int r = 0; r < count; r++) {
            for (int k = 0; k < values[0].length; k++) {
                target[offset + r * values[0].length + k] = (float) values[(int) from + r][k];
            }
        }
    }
}
