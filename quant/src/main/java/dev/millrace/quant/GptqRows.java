package dev.millrace.quant;

import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.Gptq.Packed;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/**
 * Rows of a GPTQ layer, which stores its columns: a few output rows at a time are unpacked to bytes and then written as
 * floats or as blocks of 32, in the view's order of columns.
 */
final class GptqRows extends View {
    static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private static final VarHandle LONGS = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle INTS = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

    /** Bytes of a tile of unpacked rows: stays in the second-level cache while it is filled column by column. */
    private static final int TILE = 1 << 18;

    /** Added to the distance of a tile's rows, so that a column of them does not fall into one set of the cache. */
    private static final int PAD = 72;

    private final Packed packed;
    private final Weight scales;
    private final int[] order;
    private final int[] groupAt;

    /** @param order which column is at which place, or null for the natural order */
    GptqRows(Packed packed, WeightFormat format, int[] order) {
        super(packed.name(), packed.shape(), format);
        this.packed = packed;
        this.scales = Views.transposed(packed.name(), packed.scales());
        this.order = new int[packed.groups().length];
        this.groupAt = new int[this.order.length];
        for (int i = 0; i < groupAt.length; i++) {
            this.order[i] = order == null ? i : order[i];
            groupAt[i] = packed.groups()[this.order[i]];
        }
    }

    /** Some rows, unpacked, in the natural order of columns, with the scales and zero points of their groups. */
    private final class Tile {
        final int count;
        final int groups = Math.toIntExact(packed.scales().shape().rows());
        final int stride = order.length + PAD;
        final byte[] q;
        final float[] scale;
        final int[] zero;

        Tile(long first, int count) {
            int from = Math.toIntExact(first);
            int out = Math.toIntExact(shape().rows());
            this.count = count;
            this.q = new byte[count * stride];
            this.scale = new float[count * groups];
            this.zero = new int[count * groups];
            scales.decodeRows(from, count, scale, 0);
            int[] zeros = new int[count];
            for (int group = 0; group < groups; group++) {
                packed.zeros(group, from, count, zeros, 0);
                for (int r = 0; r < count; r++) {
                    zero[r * groups + group] = zeros[r];
                }
            }
            int pack = 32 / packed.bits();
            int[] words = new int[count];
            for (int column = 0; column < order.length; column += pack) {
                MemorySegment.copy(packed.weights(), INT, 4 * ((long) (column / pack) * out + from), words, 0, count);
                if (pack == 8) {
                    for (int r = 0; r < count; r++) {
                        LONGS.set(q, r * stride + column, Long.expand(words[r], 0x0f0f0f0f0f0f0f0fL));
                    }
                } else {
                    for (int r = 0; r < count; r++) {
                        INTS.set(q, r * stride + column, words[r]);
                    }
                }
            }
        }
    }

    private int step(long count) {
        return (int) Math.clamp(TILE / order.length, 1, count);
    }

    @Override
    void decode(long from, long count, float[] target, int offset) {
        int in = order.length;
        int step = step(count);
        byte[] row = new byte[format() == WeightFormat.F32 ? 0 : Math.toIntExact(rowBytes())];
        for (long done = 0; done < count; done += step) {
            Tile tile = new Tile(from + done, (int) Math.min(step, count - done));
            for (int r = 0; r < tile.count; r++, offset += in) {
                if (format() == WeightFormat.F32) {
                    exact(tile, r, target, offset);
                } else {
                    blocks(tile, r, row);
                    Codecs.of(format()).decode(MemorySegment.ofArray(row), 0, target, offset, in);
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
        byte[] row = new byte[Math.toIntExact(rowBytes())];
        for (long done = 0; done < count; done += step) {
            Tile tile = new Tile(from + done, (int) Math.min(step, count - done));
            for (int r = 0; r < tile.count; r++) {
                blocks(tile, r, row);
                MemorySegment.copy(row, 0, target, ValueLayout.JAVA_BYTE, (done + r) * rowBytes(), row.length);
            }
        }
    }

    private void exact(Tile tile, int r, float[] target, int offset) {
        byte[] q = tile.q;
        int start = r * tile.stride;
        int group = r * tile.groups;
        for (int i = 0; i < order.length; i++) {
            int g = group + groupAt[i];
            target[offset + i] = tile.scale[g] * ((q[start + i] & 0xff) - tile.zero[g]);
        }
    }

    /** A row's blocks: in the view's order, every 32 numbers share a group. */
    private void blocks(Tile tile, int r, byte[] row) {
        int start = r * tile.stride;
        for (int i = 0, at = 0; i < order.length; i += 32, at += format().blockBytes()) {
            int group = r * tile.groups + groupAt[i];
            Blocks.putHalf(row, at, tile.scale[group]);
            switch (format()) {
                case Q4_0 -> nibbles(tile.q, start, i, row, at + 2);
                case Q4_1 -> {
                    Blocks.putHalf(row, at + 2, -tile.scale[group] * tile.zero[group]);
                    nibbles(tile.q, start, i, row, at + 4);
                }
                case Q8_0 -> {
                    for (int j = 0; j < 32; j++) {
                        row[at + 2 + j] = (byte) (tile.q[start + order[i + j]] - 128);
                    }
                }
                default -> throw new AssertionError(format());
            }
        }
    }

    private void nibbles(byte[] q, int start, int i, byte[] row, int at) {
        for (int j = 0; j < 16; j++) {
            row[at + j] = (byte) (q[start + order[i + j]] | q[start + order[i + j + 16]] << 4);
        }
    }
}
