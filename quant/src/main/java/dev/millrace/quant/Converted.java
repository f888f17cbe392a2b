package dev.millrace.quant;

import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;

/** A weight rounded to another format when it is read. Decoding gives the rounded values. */
final class Converted extends View {
    private final Weight base;

    Converted(Weight base, WeightFormat format) {
        super(base.name(), base.shape(), format);
        this.base = base;
    }

    @Override
    void source(long from, long count, float[] target, int offset) {
        base.decodeRows(from, count, target, offset);
    }

    @Override
    void decode(long from, long count, float[] target, int offset) {
        base.decodeRows(from, count, target, offset);
        if (format() == WeightFormat.F32) {
            return;
        }
        int columns = (int) shape().columns();
        BlockCodec codec = Codecs.of(format());
        MemorySegment row = MemorySegment.ofArray(new byte[Math.toIntExact(rowBytes())]);
        for (long r = 0; r < count; r++, offset += columns) {
            codec.encode(target, offset, columns, row, 0);
            codec.decode(row, 0, target, offset, columns);
        }
    }
}
