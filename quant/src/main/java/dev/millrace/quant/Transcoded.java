package dev.millrace.quant;

import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A block format rewritten in another one with the same quantized numbers: exact, or exact but for the scales of a
 * super-block's groups, which become f16 (relative error up to 2^-11 while normal).
 */
final class Transcoded extends View {
    private static final int CHUNK_BYTES = 1 << 16;

    private final Weight base;
    private final Rewrite rewrite;

    /** Writes {@code count} blocks of one format at {@code from} as blocks of the other at {@code to}, from byte 0. */
    private interface Rewrite {
        void apply(byte[] from, int count, byte[] to);
    }

    Transcoded(Weight base, WeightFormat format) {
        super(base.name(), base.shape(), format);
        this.base = base;
        this.rewrite = rewrite(base.format(), format);
    }

    static boolean possible(WeightFormat from, WeightFormat to) {
        return rewrite(from, to) != null;
    }

    private static Rewrite rewrite(WeightFormat from, WeightFormat to) {
        return switch (to) {
            case Q8_0 -> switch (from) {
                case Q4_0 -> Transcoded::fourToEight;
                case Q5_0 -> Transcoded::fiveToEight;
                case IQ4_NL -> Transcoded::tableToEight;
                case IQ4_XS -> Transcoded::superTableToEight;
                default -> null;
            };
            case Q4_1 -> from == WeightFormat.Q4_K ? Transcoded::superToFour : null;
            case Q5_1 -> from == WeightFormat.Q5_K ? Transcoded::superToFive : null;
            default -> null;
        };
    }

    @Override
    void copy(long from, long count, MemorySegment target) {
        WeightFormat old = base.format();
        long oldRow = old.rowBytes(shape().columns());
        int step = (int) Math.clamp(CHUNK_BYTES / oldRow, 1, count);
        byte[] source = new byte[Math.toIntExact(step * oldRow)];
        byte[] result = new byte[Math.toIntExact(step * rowBytes())];
        for (long done = 0; done < count; done += step) {
            int some = (int) Math.min(step, count - done);
            base.copyRows(from + done, some, MemorySegment.ofArray(source));
            rewrite.apply(source, (int) (some * oldRow / old.blockBytes()), result);
            MemorySegment.copy(
                    result, 0, target, ValueLayout.JAVA_BYTE, done * rowBytes(), (int) (some * rowBytes()));
        }
    }

    @Override
    void decode(long from, long count, float[] target, int offset) {
        int columns = (int) shape().columns();
        MemorySegment row = MemorySegment.ofArray(new byte[Math.toIntExact(rowBytes())]);
        for (long r = 0; r < count; r++) {
            copy(from + r, 1, row);
            Codecs.of(format()).decode(row, 0, target, offset + (int) r * columns, columns);
        }
    }

    private static void fourToEight(byte[] from, int count, byte[] to) {
        for (int block = 0, a = 0, b = 0; block < count; block++, a += 18, b += 34) {
            to[b] = from[a];
            to[b + 1] = from[a + 1];
            for (int j = 0; j < 16; j++) {
                to[b + 2 + j] = (byte) ((from[a + 2 + j] & 15) - 8);
                to[b + 18 + j] = (byte) ((from[a + 2 + j] >> 4 & 15) - 8);
            }
        }
    }

    private static void fiveToEight(byte[] from, int count, byte[] to) {
        for (int block = 0, a = 0, b = 0; block < count; block++, a += 22, b += 34) {
            to[b] = from[a];
            to[b + 1] = from[a + 1];
            int high = Blocks.int32(from, a + 2);
            for (int j = 0; j < 16; j++) {
                to[b + 2 + j] = (byte) ((from[a + 6 + j] & 15 | (high >> j & 1) << 4) - 16);
                to[b + 18 + j] = (byte) ((from[a + 6 + j] >> 4 & 15 | (high >> j + 16 & 1) << 4) - 16);
            }
        }
    }

    private static void tableToEight(byte[] from, int count, byte[] to) {
        for (int block = 0, a = 0, b = 0; block < count; block++, a += 18, b += 34) {
            to[b] = from[a];
            to[b + 1] = from[a + 1];
            lookUp(from, a + 2, to, b + 2);
        }
    }

    private static void superTableToEight(byte[] from, int count, byte[] to) {
        for (int block = 0, a = 0, b = 0; block < count; block++, a += 136) {
            float d = Blocks.half(from, a);
            for (int group = 0; group < 8; group++, b += 34) {
                Blocks.putHalf(to, b, d * (NonLinear.scale(from, a, group) - 32));
                lookUp(from, a + 8 + group * 16, to, b + 2);
            }
        }
    }

    private static void lookUp(byte[] from, int a, byte[] to, int b) {
        for (int j = 0; j < 16; j++) {
            to[b + j] = NonLinear.TABLE[from[a + j] & 15];
            to[b + 16 + j] = NonLinear.TABLE[from[a + j] >> 4 & 15];
        }
    }

    /** Two groups share 32 bytes of nibbles, one low, one high; a block of 32 has element j low and j + 16 high. */
    private static void nibbles(byte[] from, int a, int shift, byte[] to, int b) {
        for (int j = 0; j < 16; j++) {
            to[b + j] = (byte) (from[a + j] >> shift & 15 | (from[a + 16 + j] >> shift & 15) << 4);
        }
    }

    private static void superToFour(byte[] from, int count, byte[] to) {
        for (int block = 0, a = 0, b = 0; block < count; block++, a += 144) {
            for (int group = 0; group < 8; group++, b += 20) {
                scales(from, a, group, to, b);
                nibbles(from, a + 16 + group / 2 * 32, group % 2 * 4, to, b + 4);
            }
        }
    }

    private static void superToFive(byte[] from, int count, byte[] to) {
        for (int block = 0, a = 0, b = 0; block < count; block++, a += 176) {
            for (int group = 0; group < 8; group++, b += 24) {
                scales(from, a, group, to, b);
                int fifth = 0;
                for (int j = 0; j < 32; j++) {
                    fifth |= (from[a + 16 + j] >> group & 1) << j;
                }
                Blocks.putInt32(to, b + 4, fifth);
                nibbles(from, a + 48 + group / 2 * 32, group % 2 * 4, to, b + 8);
            }
        }
    }

    private static void scales(byte[] from, int a, int group, byte[] to, int b) {
        Blocks.putHalf(to, b, Blocks.half(from, a) * SuperBlockMin.scale(from, a + 4, group));
        Blocks.putHalf(to, b + 2, -Blocks.half(from, a + 2) * SuperBlockMin.min(from, a + 4, group));
    }
}
