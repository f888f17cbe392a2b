package dev.millrace.models.arch;

import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.Gptq;
import dev.millrace.quant.Views;
import java.lang.foreign.MemorySegment;

/**
 * A GPTQ layer that is handed out as blocks, and as exact floats where floats are asked for: a block's minimum is an f16,
 * which scale times zero point is not, so blocks turned into floats would not be what the checkpoint says.
 */
record ExactBlocks(Weight blocks, Weight exact) implements Weight {

    static Weight of(Gptq gptq) {
        Weight blocks = gptq.blocks().orElseThrow();
        Weight exact = gptq.order()
                .map(order -> Views.permutedColumns(gptq.exact().name(), gptq.exact(), order))
                .orElse(gptq.exact());
        return new ExactBlocks(blocks, exact);
    }

    @Override
    public String name() {
        return blocks.name();
    }

    @Override
    public Shape shape() {
        return blocks.shape();
    }

    @Override
    public WeightFormat format() {
        return blocks.format();
    }

    @Override
    public void copyRows(long from, long count, MemorySegment target) {
        blocks.copyRows(from, count, target);
    }

    @Override
    public void decodeRows(long from, long count, float[] target, int offset) {
        exact.decodeRows(from, count, target, offset);
    }
}
