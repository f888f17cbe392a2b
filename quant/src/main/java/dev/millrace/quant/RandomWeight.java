package dev.millrace.quant;

import dev.millrace.core.MillraceException;
import dev.millrace.core.sampling.CounterRng;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** Random numbers instead of a checkpoint's, computed from (name, seed, index) whenever they are read. */
final class RandomWeight extends View {
    private static final int CHUNK_BYTES = 1 << 14;

    /** The standard deviation of the sum of two signed bytes, which is distributed as a triangle. */
    private static final float TWO_BYTES = 104.511f;

    private static final VarHandle LONGS = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private final long seed;
    private final float deviation;
    private final long key;

    RandomWeight(String name, Shape shape, WeightFormat format, long seed, float deviation) {
        super(name, shape, format);
        this.seed = seed;
        this.deviation = deviation;
        this.key = CounterRng.key(seed, name.hashCode());
        if (format.quantized() && levels(format) == 0) {
            throw new MillraceException(name + ": random weights come in the floats, q4_0, q4_1, q5_0, q5_1 and q8_0,"
                    + " not in " + format.label());
        }
    }

    RandomWeight as(WeightFormat other) {
        return new RandomWeight(name(), shape(), other, seed, deviation);
    }

    private static int levels(WeightFormat format) {
        return switch (format) {
            case Q4_0, Q4_1 -> 16;
            case Q5_0, Q5_1 -> 32;
            case Q8_0 -> 256;
            default -> 0;
        };
    }

    @Override
    void copy(long from, long count, MemorySegment target) {
        if (!format().quantized()) {
            super.copy(from, count, target);
            return;
        }
        long blocksInRow = shape().columns() / format().blockElements();
        long first = from * blocksInRow;
        long blocks = count * blocksInRow;
        int step = (int) Math.min(blocks, CHUNK_BYTES / format().blockBytes());
        byte[] chunk = new byte[step * format().blockBytes()];
        for (long done = 0; done < blocks; done += step) {
            int some = (int) Math.min(step, blocks - done);
            draw(first + done, some, chunk);
            int bytes = some * format().blockBytes();
            MemorySegment.copy(chunk, 0, target, ValueLayout.JAVA_BYTE, done * format().blockBytes(), bytes);
        }
    }

    @Override
    void decode(long from, long count, float[] target, int offset) {
        int columns = Math.toIntExact(shape().columns());
        if (!format().quantized()) {
            bell(from * columns, (int) count * columns, target, offset);
            if (format() != WeightFormat.F32) {
                round(target, offset, (int) count * columns);
            }
            return;
        }
        MemorySegment row = MemorySegment.ofArray(new byte[Math.toIntExact(rowBytes())]);
        for (int r = 0; r < count; r++) {
            copy(from + r, 1, row);
            Codecs.of(format()).decode(row, 0, target, offset + r * columns, columns);
        }
    }

    @Override
    void source(long from, long count, float[] target, int offset) {
        int columns = Math.toIntExact(shape().columns());
        bell(from * columns, (int) count * columns, target, offset);
    }

    private void round(float[] values, int offset, int n) {
        byte[] stored = new byte[Math.multiplyExact(n, format().blockBytes())];
        Codecs.of(format()).encode(values, offset, n, MemorySegment.ofArray(stored), 0);
        Codecs.of(format()).decode(MemorySegment.ofArray(stored), 0, values, offset, n);
    }

    /** Elements {@code [start, start + n)} of the whole weight, four from every 64 random bits. */
    private void bell(long start, int n, float[] target, int offset) {
        float scale = deviation / TWO_BYTES;
        int i = 0;
        for (; i < n && (start + i & 3) != 0; i++) {
            target[offset + i] = scale * sum(CounterRng.key(key, start + i >> 2) >>> (start + i & 3) * 16);
        }
        for (; i + 3 < n; i += 4) {
            long bits = CounterRng.key(key, start + i >> 2);
            target[offset + i] = scale * sum(bits);
            target[offset + i + 1] = scale * sum(bits >>> 16);
            target[offset + i + 2] = scale * sum(bits >>> 32);
            target[offset + i + 3] = scale * sum(bits >>> 48);
        }
        for (; i < n; i++) {
            target[offset + i] = scale * sum(CounterRng.key(key, start + i >> 2) >>> (start + i & 3) * 16);
        }
    }

    /** The sum of the two lowest bytes, shifted to mean zero. */
    private static int sum(long bits) {
        return (byte) bits + (byte) (bits >> 8) + 1;
    }

    /** Blocks of uniform numbers; the scale's sign is random, so that the missing +8 of -8..7 leaves the mean at zero. */
    private void draw(long first, int count, byte[] to) {
        WeightFormat format = format();
        int levels = levels(format);
        boolean minimum = format == WeightFormat.Q4_1 || format == WeightFormat.Q5_1;
        int head = minimum ? 4 : 2;
        float d = deviation / (float) Math.sqrt((levels * (double) levels - 1) / 12);
        for (int block = 0, at = 0; block < count; block++) {
            long blockKey = CounterRng.key(key, first + block);
            float signed = blockKey < 0 ? -d : d;
            Blocks.putHalf(to, at, signed);
            if (minimum) {
                Blocks.putHalf(to, at + 2, -signed * (levels - 1) / 2);
            }
            int end = at + format.blockBytes();
            at += head;
            for (int word = 0; at < end; word++) {
                long bits = CounterRng.key(blockKey, word);
                if (end - at >= 8) {
                    LONGS.set(to, at, bits);
                    at += 8;
                } else {
                    for (; at < end; at++, bits >>>= 8) {
                        to[at] = (byte) bits;
                    }
                }
            }
        }
    }
}
