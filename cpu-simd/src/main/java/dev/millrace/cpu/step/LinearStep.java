package dev.millrace.cpu.step;

import dev.millrace.core.graph.Op;
import dev.millrace.cpu.matmul.Epilogue;
import dev.millrace.cpu.matmul.PackedLinear;
import dev.millrace.cpu.matmul.Rows;
import dev.millrace.cpu.pool.WorkerPool;

/** {@link Op.Linear} and {@link Op.FusedLinear}: a norm, then linear maps of one input with what follows them. */
public final class LinearStep implements Step {
    private final PackedLinear linear;
    private final Normalizer norm;
    private final Epilogue epilogue;
    private final Buffer x;
    private final Buffer residual;
    private final Buffer y;
    private final LinearStep writer;
    private final PackedLinear reader;
    private final MatmulScratch scratch;
    private final WorkerPool pool;
    private Rows xRows;
    private Rows residualRows;
    private Rows yRows;
    private Rows yBlocks;
    private boolean readerIsWarm;

    /**
     * @param norm of the input, or null
     * @param residual added at the end, or null
     * @param writer computes the input for this map alone; null where the input is in rows whoever computes it
     * @param reader alone reads the output; null where the output is to be in rows
     */
    public LinearStep(
            PackedLinear linear,
            Normalizer norm,
            Epilogue epilogue,
            Buffer x,
            Buffer residual,
            Buffer y,
            LinearStep writer,
            PackedLinear reader,
            MatmulScratch scratch,
            WorkerPool pool) {
        this.linear = linear;
        this.norm = norm;
        this.epilogue = epilogue;
        this.x = x;
        this.residual = residual;
        this.y = y;
        this.writer = writer;
        this.reader = reader;
        this.scratch = scratch;
        this.pool = pool;
    }

    @Override
    public void ready(Chunk chunk) {
        xRows = rows(xRows, norm == null ? x : scratch.normalized(), linear.inputs(), false);
        yRows = rows(yRows, y, linear.outputs(), false);
        if (residual != null) {
            residualRows = rows(residualRows, residual, linear.outputs(), false);
        }
        readerIsWarm = reader != null && reader.warm();
        if (readerIsWarm) {
            yBlocks = rows(yBlocks, y, linear.outputs(), true);
        }
    }

    private static Rows rows(Rows before, Buffer buffer, int width, boolean blocks) {
        return before != null && before.data() == buffer.data() ? before : new Rows(buffer.data(), 0, width, blocks);
    }

    /** Where so many rows of output are: of many tokens in blocks, if that is how the next map reads them. */
    private Rows output(int rows) {
        return readerIsWarm && reader.readsBlocks(rows) ? yBlocks : yRows;
    }

    @Override
    public void run(Chunk chunk, int first, int rows, int worker, int workers) {
        if (norm != null) {
            int width = linear.inputs();
            float[] normalized = xRows.data();
            int end = Step.share(rows, 1, worker + 1, workers);
            for (int t = Step.share(rows, 1, worker, workers); t < end; t++) {
                norm.apply(x.data(), t * width, normalized, t * width, width);
            }
            pool.barrier(worker);
        }
        Rows in = writer == null ? xRows : writer.output(rows);
        linear.apply(in, rows, epilogue, residualRows, output(rows), scratch.activations(), pool, worker);
    }
}
