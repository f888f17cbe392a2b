package dev.millrace.cpu.kv;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.cpu.Lanes;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Keys and values of one attention layer of one sequence, each key/value head in one piece of memory, so that decoding
 * streams it from front to back.
 *
 * <p>Keys lie in blocks of {@link Lanes#COUNT} positions: [kvHeads, blocks, headDim, COUNT]. A score needs no sum
 * across lanes then: every lane is a position, whatever the head's size. Values lie [kvHeads, positions, headDim
 * rounded up to whole vectors]; the padding stays 0. Positions come in whole tiles of {@link #TILE}.
 */
public final class KvCache {
    /** Positions in a block of keys. */
    public static final int BLOCK = Lanes.COUNT;

    /** Positions in a tile, whose scores are computed together. */
    public static final int TILE = 4 * BLOCK;

    /** All native memory: a segment that is a constant is not checked for being open at every store. */
    private static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final KvFormat format;
    private final int headDim;
    private final int padded;
    private final long keysAt;
    private final long valuesAt;
    private final long positions;

    private KvCache(MemorySegment memory, long at, int kvHeads, int headDim, long positions, KvFormat format) {
        this.format = format;
        this.headDim = headDim;
        this.padded = Lanes.padded(headDim);
        this.positions = positions;
        this.keysAt = memory.address() + at;
        this.valuesAt = keysAt + kvHeads * positions * headDim * format.bytes();
    }

    /** Positions that a cache with room for {@code capacity} holds: whole tiles. */
    public static long positions(long capacity) {
        return Math.addExact(capacity, TILE - 1) / TILE * TILE;
    }

    /** Bytes of a cache, a multiple of 64. */
    public static long bytes(int kvHeads, int headDim, long capacity, KvFormat format) {
        long floats = Math.multiplyExact(positions(capacity), (long) kvHeads * (headDim + Lanes.padded(headDim)));
        return Math.addExact(Math.multiplyExact(floats, format.bytes()), 63) & -64L;
    }

    /** A cache in {@code memory} from {@code at}, which holds {@link #bytes} zeros. */
    public static KvCache in(
            MemorySegment memory, long at, int kvHeads, int headDim, long capacity, KvFormat format) {
        return new KvCache(memory, at, kvHeads, headDim, positions(capacity), format);
    }

    /** How elements are kept. */
    public KvFormat format() {
        return format;
    }

    /** Address of the keys of the block that begins at {@code position}. */
    public long keys(int head, long position) {
        return keysAt + (head * positions + position) * headDim * format.bytes();
    }

    /** Address of the value at {@code position}. */
    public long values(int head, long position) {
        return valuesAt + (head * positions + position) * padded * format.bytes();
    }

    /** Stores the key and the value of one head at {@code position}: headDim floats each. */
    public void put(int head, long position, float[] k, int kAt, float[] v, int vAt) {
        long lane = position % BLOCK;
        long block = keys(head, position - lane);
        long value = values(head, position);
        if (format == KvFormat.F32) {
            long key = block + lane * Float.BYTES;
            for (int d = 0; d < headDim; d++) {
                ALL.set(FLOAT, key + (long) d * BLOCK * Float.BYTES, k[kAt + d]);
            }
            MemorySegment.copy(v, vAt, ALL, FLOAT, value, headDim);
        } else {
            long key = block + lane * Short.BYTES;
            for (int d = 0; d < headDim; d++) {
                ALL.set(SHORT, key + (long) d * BLOCK * Short.BYTES, Float.floatToFloat16(k[kAt + d]));
                ALL.set(SHORT, value + (long) d * Short.BYTES, Float.floatToFloat16(v[vAt + d]));
            }
        }
    }
}
