package dev.millrace.quant;

import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import java.util.Optional;

/**
 * The transpose of a weight of plain floats. A request for some rows reads that stretch of every row of the original,
 * a tile of them at a time, and turns the tile in the cache.
 */
final class Transposed extends View {
    /** Rows of the original in a tile: 64 floats are four cache lines of every row that is written. */
    private static final int TILE = 64;

    private final Weight base;

    Transposed(String name, Weight base) {
        super(name, new Shape(base.shape().columns(), base.shape().rows()), plain(base, "transposed").format());
        this.base = base;
    }

    @Override
    public Optional<MemorySegment> segment() {
        return base.shape().rows() == 1 || base.shape().columns() == 1 ? base.segment() : Optional.empty();
    }

    @Override
    public boolean copyColumns(long from, long count, MemorySegment target) {
        Objects.checkFromIndexSize(from, count, shape().rows());
        Optional<MemorySegment> memory = base.segment();
        if (memory.isEmpty()) {
            return false;
        }
        long stride = format().rowBytes(base.shape().columns());
        long bytes = format().rowBytes(count);
        for (long column = 0; column < base.shape().rows(); column++) {
            MemorySegment.copy(memory.get(), column * stride + format().rowBytes(from), target, column * bytes, bytes);
        }
        return true;
    }

    /** 16-bit elements are moved as they are, through arrays, which are fast before the JIT has seen them too. */
    @Override
    void copy(long from, long count, MemorySegment target) {
        Optional<MemorySegment> memory = base.segment();
        if (memory.isEmpty() || format().blockBytes() != Short.BYTES) {
            super.copy(from, count, target);
            return;
        }
        int rows = Math.toIntExact(base.shape().rows());
        int wanted = Math.toIntExact(count);
        short[] tile = new short[wanted];
        short[] turned = new short[Math.multiplyExact(wanted, rows)];
        for (int r = 0; r < rows; r++) {
            long at = Short.BYTES * (r * base.shape().columns() + from);
            MemorySegment.copy(memory.get(), FloatCodecs.SHORT, at, tile, 0, wanted);
            for (int c = 0; c < wanted; c++) {
                turned[c * rows + r] = tile[c];
            }
        }
        MemorySegment.copy(turned, 0, target, FloatCodecs.SHORT, 0, turned.length);
    }

    @Override
    void decode(long from, long count, float[] target, int offset) {
        int rows = Math.toIntExact(base.shape().rows());
        int wanted = Math.toIntExact(count);
        Optional<MemorySegment> memory = base.segment();
        if (memory.isPresent()) {
            strided(memory.get(), from, wanted, rows, target, offset);
        } else {
            whole(Math.toIntExact(from), wanted, rows, target, offset);
        }
    }

    private void strided(MemorySegment memory, long from, int wanted, int rows, float[] target, int offset) {
        BlockCodec codec = Codecs.of(format());
        long stride = format().rowBytes(base.shape().columns());
        long start = format().rowBytes(from);
        float[] tile = new float[TILE * wanted];
        for (int first = 0; first < rows; first += TILE) {
            int some = Math.min(TILE, rows - first);
            for (int r = 0; r < some; r++) {
                codec.decode(memory, (first + r) * stride + start, tile, r * wanted, wanted);
            }
            turn(tile, wanted, 0, wanted, some, rows, target, offset + first);
        }
    }

    /** The original computes its rows: they are decoded whole. */
    private void whole(int from, int wanted, int rows, float[] target, int offset) {
        int columns = Math.toIntExact(base.shape().columns());
        float[] tile = new float[Math.multiplyExact(Math.min(TILE, rows), columns)];
        for (int first = 0; first < rows; first += TILE) {
            int some = Math.min(TILE, rows - first);
            base.decodeRows(first, some, tile, 0);
            turn(tile, columns, from, wanted, some, rows, target, offset + first);
        }
    }

    private static void turn(
            float[] tile, int stride, int from, int wanted, int some, int rows, float[] target, int offset) {
        for (int c = 0; c < wanted; c++) {
            int to = offset + c * rows;
            for (int r = 0; r < some; r++) {
                target[to + r] = tile[r * stride + from + c];
            }
        }
    }
}
