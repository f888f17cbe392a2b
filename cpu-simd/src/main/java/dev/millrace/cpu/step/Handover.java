package dev.millrace.cpu.step;

import dev.millrace.cpu.matmul.PackedLinear;
import dev.millrace.cpu.matmul.Rows;

/**
 * A value that one linear map alone reads, and as it is: of many tokens it is left in blocks, as that map reads them, and not in rows
 * that it would have to lay out first.
 */
public final class Handover {
    private final PackedLinear reader;
    private final Buffer buffer;
    private Rows blocks;
    private boolean inBlocks;

    /** @param buffer where the value is, in rows or in blocks */
    public Handover(PackedLinear reader, Buffer buffer) {
        this.reader = reader;
        this.buffer = buffer;
    }

    /** Decides for the next chunk, in the {@link Step#ready} of the step that computes the value. */
    public void ready(int tokens) {
        // asked for many tokens only: a step that finds kernels cold counts as one that had to do without
        inBlocks = reader.readsBlocks(tokens) && reader.warm();
        if (inBlocks && (blocks == null || blocks.data() != buffer.data())) {
            blocks = new Rows(buffer.data(), 0, reader.inputs(), true);
        }
    }

    /** Where {@code rows} rows of the value lie in blocks; null when they lie in rows. */
    public Rows blocks(int rows) {
        return inBlocks && reader.readsBlocks(rows) ? blocks : null;
    }
}
