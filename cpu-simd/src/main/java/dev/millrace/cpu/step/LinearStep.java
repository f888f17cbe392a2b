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
    private final Handover in;
    private final Handover out;
    private final MatmulScratch scratch;
    private final WorkerPool pool;
    private Rows xRows;
    private Rows residualRows;
    private Rows yRows;

    /**
     * @param norm of the input, or null
     * @param residual added at the end, or null
     * @param in the input, where that may come in blocks; null where it comes in rows
     * @param out the output, likewise; null with a residual
     */
    public LinearStep(
            PackedLinear linear,
            Normalizer norm,
            Epilogue epilogue,
            Buffer x,
            Buffer residual,
            Buffer y,
            Handover in,
            Handover out,
            MatmulScratch scratch,
            WorkerPool pool) {
        this.linear = linear;
        this.norm = norm;
        this.epilogue = epilogue;
        this.x = x;
        this.residual = residual;
        this.y = y;
        this.in = in;
        this.out = out;
        this.scratch = scratch;
        this.pool = pool;
    }

    @Override
    public void ready(Chunk chunk) {
        xRows = rows(xRows, norm == null ? x : scratch.normalized(), linear.inputs());
        yRows = rows(yRows, y, linear.outputs());
        if (residual != null) {
            residualRows = rows(residualRows, residual, linear.outputs());
        }
        if (out != null) {
            out.ready(chunk.tokens());
        }
    }

    private static Rows rows(Rows before, Buffer buffer, int width) {
        return before != null && before.data() == buffer.data() ? before : new Rows(buffer.data(), 0, width);
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
        Rows from = blocksOr(in, rows, xRows);
        linear.apply(from, rows, epilogue, residualRows, blocksOr(out, rows, yRows), scratch.activations(), pool, worker);
    }

    private static Rows blocksOr(Handover handover, int rows, Rows inRows) {
        Rows blocks = handover == null ? null : handover.blocks(rows);
        return blocks == null ? inRows : blocks;
    }
}
