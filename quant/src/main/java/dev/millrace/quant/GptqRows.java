package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.Gptq.Packed;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Rows of a GPTQ layer, which stores its columns: a few output rows at a time are unpacked to bytes, in the view's order
 * of columns, and then written as floats or as blocks of 32.
 */
final class GptqRows extends View {
    static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** Bytes of a tile of unpacked rows: stays in the second-level cache while it is filled column by column. */
    private static final int TILE = 1 << 18;

    private final Packed packed;
    private final int[] place;
    private final int[] groupAt;

    /** @param order which column is at which place, or null for the natural order */
    GptqRows(Packed packed, WeightFormat format, int[] order) {
        super(packed.name(), packed.shape(), format);
        this.packed = packed;
        this.place = new int[packed.groups().length];
        this.groupAt = new int[place.length];
        for (int i = 0; i < place.length; i++) {
            int column = order == null ? i : order[i];
            place[column] = i;
            groupAt[i] = packed.groups()[column];
        }
    }

    /** Some rows as unpacked numbers, with their groups' scales and zero points. */
    private final class Tile {
        final int from;
        final int count;
        final byte[] q;
        final float[] scales;
        final int[] zeros;

        Tile(long first, int count) {
            this.from = Math.toIntExact(first);
            this.count = count;
            int in = place.length;
            int out = Math.toIntExact(shape().rows());
            int groups = Math.toIntExact(packed.scales().shape().rows());
            this.q = new byte[count * in];
            this.scales = new float[groups * count];
            this.zeros = new int[groups * count];
            float[] row = new float[out];
            for (int group = 0; group < groups; group++) {
                packed.scales().decodeRows(group, 1, row, 0);
                System.arraycopy(row, from, scales, group * count, count);
                packed.zeros(group, from, count, zeros, group * count);
            }
            int pack = 32 / packed.bits();
            int mask = (1 << packed.bits()) - 1;
            int[] words = new int[count];
            for (int column = 0; column < in; column += pack) {
                MemorySegment.copy(packed.weights(), INT, 4 * ((long) (column / pack) * out + from), words, 0, count);
                for (int j = 0; j < pack; j++) {
                    int to = place[column + j];
                    int shift = j * packed.bits();
                    for (int r = 0; r < count; r++) {
                        q[r * in + to] = (byte) (words[r] >> shift & mask);
                    }
                }
            }
        }
    }

    private int step(long count) {
        return (int) Math.clamp(TILE / place.length, 1, count);
    }

    @Override
    void decode(long from, long count, float[] target, int offset) {
        int in = place.length;
        int step = step(count);
        for (long done = 0; done < count; done += step) {
            Tile tile = new Tile(from + done, (int) Math.min(step, count - done));
            for (int r = 0; r < tile.count; r++, offset += in) {
                switch (format()) {
                    case F32 -> exact(tile, r, target, offset);
                    default -> {
                        MemorySegment row = MemorySegment.ofArray(row(tile, r));
                        Codecs.of(format()).decode(row, 0, target, offset, in);
                    }
                }
            }
        }
    }

    @Override
    void copy(long from, long count, MemorySegment target) {
        if (format() == WeightFormat.F32) {
            super.copy(from, count, target);
            return;
        }
        int step = step(count);
        for (long done = 0; done < count; done += step) {
            Tile tile = new Tile(from + done, (int) Math.min(step, count - done));
            for (int r = 0; r < tile.count; r++) {
                byte[] row = row(tile, r);
                MemorySegment.copy(row, 0, target, ValueLayout.JAVA_BYTE, (done + r) * rowBytes(), row.length);
            }
        }
    }

    private void exact(Tile tile, int r, float[] target, int offset) {
        int in = place.length;
        for (int i = 0; i < in; i++) {
            int group = groupAt[i] * tile.count + r;
            target[offset + i] = tile.scales[group] * ((tile.q[r * in + i] & 0xff) - tile.zeros[group]);
        }
    }

    /** A row's blocks: the numbers are already in their order, so every 32 of them share a group. */
    private byte[] row(Tile tile, int r) {
        byte[] row = new byte[Math.toIntExact(rowBytes())];
        int in = place.length;
        for (int i = 0, at = 0; i < in; i += 32, at += format().blockBytes()) {
            int group = groupAt[i] * tile.count + r;
            float scale = tile.scales[group];
            Blocks.putHalf(row, at, scale);
            int q = r * in + i;
            switch (format()) {
                case Q4_0 -> nibbles(tile.q, q, row, at + 2);
                case Q4_1 -> {
                    Blocks.putHalf(row, at + 2, -scale * tile.zeros[group]);
                    nibbles(tile.q, q, row, at + 4);
                }
                case Q8_0 -> {
                    for (int j = 0; j < 32; j++) {
                        row[at + 2 + j] = (byte) (tile.q[q + j] - 128);
                    }
                }
                default -> throw new AssertionError(format());
            }
        }
        return row;
    }

    private static void nibbles(byte[] q, int from, byte[] row, int at) {
        for (int j = 0; j < 16; j++) {
            row[at + j] = (byte) (q[from + j] | q[from + j + 16] << 4);
        }
    }
}
