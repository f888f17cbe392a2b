package dev.millrace.core.kit;

import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Optional;
import java.util.Random;

/**
 * A weight whose bytes are drawn at random and decoded here, block by block, as the formats are specified: the kit trusts
 * no codec of the project.
 */
public final class KitWeight implements Weight {
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final String name;
    private final Shape shape;
    private final WeightFormat format;
    private final MemorySegment bytes;
    private final float[] decoded;

    private KitWeight(String name, Shape shape, WeightFormat format) {
        this.name = name;
        this.shape = shape;
        this.format = format;
        this.bytes = Arena.ofAuto().allocate(shape.rows() * format.rowBytes(shape.columns()), 64);
        this.decoded = new float[Math.toIntExact(shape.elements())];
    }

    /** Elements of about {@code scale} in size. */
    public static KitWeight random(String name, Shape shape, WeightFormat format, double scale, Random random) {
        KitWeight w = new KitWeight(name, shape, format);
        long at = 0;
        for (int i = 0; i < w.decoded.length; i += format.blockElements()) {
            w.block(at, i, scale, random);
            at += format.blockBytes();
        }
        return w;
    }

    /** The given elements, as float32. */
    public static KitWeight of(String name, Shape shape, float... elements) {
        KitWeight w = new KitWeight(name, shape, WeightFormat.F32);
        for (int i = 0; i < elements.length; i++) {
            w.bytes.set(ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), 4L * i, elements[i]);
            w.decoded[i] = elements[i];
        }
        return w;
    }

    private void block(long at, int i, double scale, Random random) {
        float x = (float) (random.nextGaussian() * scale);
        switch (format) {
            case F32 -> {
                bytes.set(ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), at, x);
                decoded[i] = x;
            }
            case F16 -> decoded[i] = half(at, x);
            case BF16 -> {
                short top = (short) (Float.floatToRawIntBits(x) >>> 16);
                bytes.set(SHORT, at, top);
                decoded[i] = Float.intBitsToFloat(top << 16);
            }
            case Q8_0 -> {
                float d = half(at, (float) (scale * (0.5 + random.nextFloat()) / 64));
                for (int j = 0; j < 32; j++) {
                    byte q = (byte) (random.nextInt(255) - 127);
                    bytes.set(ValueLayout.JAVA_BYTE, at + 2 + j, q);
                    decoded[i + j] = d * q;
                }
            }
            case Q4_0 -> {
                float d = half(at, (float) (scale * (0.5 + random.nextFloat()) / 4) * (random.nextBoolean() ? 1 : -1));
                nibbles(at + 2, i, d, -8 * d, random);
            }
            case Q4_1 -> {
                float d = half(at, (float) (scale * (0.5 + random.nextFloat()) / 4));
                float m = half(at + 2, (float) (-scale * (1 + random.nextFloat()) * 2));
                nibbles(at + 4, i, d, m, random);
            }
            default -> throw new IllegalArgumentException("the kit has no " + format);
        }
    }

    private float half(long at, float x) {
        short half = Float.floatToFloat16(x);
        bytes.set(SHORT, at, half);
        return Float.float16ToFloat(half);
    }

    /** Byte j holds element j in its low and element j + 16 in its high four bits. */
    private void nibbles(long at, int i, float d, float m, Random random) {
        for (int j = 0; j < 16; j++) {
            int low = random.nextInt(16);
            int high = random.nextInt(16);
            bytes.set(ValueLayout.JAVA_BYTE, at + j, (byte) (high << 4 | low));
            decoded[i + j] = d * low + m;
            decoded[i + j + 16] = d * high + m;
        }
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public Shape shape() {
        return shape;
    }

    @Override
    public WeightFormat format() {
        return format;
    }

    @Override
    public Optional<MemorySegment> segment() {
        return Optional.of(bytes);
    }

    @Override
    public void copyRows(long from, long count, MemorySegment target) {
        long row = format.rowBytes(shape.columns());
        MemorySegment.copy(bytes, from * row, target, 0, count * row);
    }

    @Override
    public void decodeRows(long from, long count, float[] target, int offset) {
        int columns = Math.toIntExact(shape.columns());
        System.arraycopy(decoded, Math.toIntExact(from * columns), target, offset, Math.toIntExact(count * columns));
    }
}
