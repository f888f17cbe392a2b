package dev.millrace.core.reference;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.Counters;
import dev.millrace.core.executor.InputLimits;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.MemoryUse;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Value;
import dev.millrace.core.profile.OpObserver;
import dev.millrace.core.tensor.Weights;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Runs the nodes one after the other; every activation is a list of rows in double precision. */
final class ReferenceProgram implements Program {
    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final Graph graph;
    private final Weights weights;
    private final InputLimits limits;
    private OpObserver observer;
    private long tokens;

    ReferenceProgram(Graph graph, Weights weights) {
        this.graph = graph;
        this.weights = weights;
        this.limits = InputLimits.of(graph, weights);
    }

    @Override
    public Graph graph() {
        return graph;
    }

    @Override
    public boolean keepsWeights() {
        return true;
    }

    @Override
    public Session newSession(int capacity, KvFormat kv) {
        return new ReferenceSession(this, capacity, kv);
    }

    @Override
    public void forward(Batch batch, MemorySegment target) {
        limits.check(this, batch);
        Value wanted = graph.output(batch.output());
        ReferenceOps ops = new ReferenceOps(weights, batch.slices(), limits.causal());
        Map<Value, double[][]> values = new HashMap<>();
        long start = System.nanoTime();
        if (observer != null) {
            observer.begin(batch.tokens(), batch.slices().getFirst().session().position());
        }
        for (Node node : graph.nodesFor(batch.output())) {
            List<double[][]> inputs = node.inputs().stream().map(values::get).toList();
            long before = System.nanoTime();
            values.put(node.output(), ops.run(node.op(), inputs));
            if (observer != null) {
                observer.op(node, before, System.nanoTime());
            }
        }
        if (limits.causal()) {
            for (Slice slice : batch.slices()) {
                ((ReferenceSession) slice.session()).append(slice.tokens());
            }
        }
        tokens += batch.tokens();
        if (!target.equals(MemorySegment.NULL)) {
            write(wanted, values.get(wanted), batch, target);
        }
        if (observer != null) {
            observer.end(start, System.nanoTime());
        }
    }

    /** Of the rows computed for each slice, the last as many as it asked for. */
    private static void write(Value wanted, double[][] rows, Batch batch, MemorySegment target) {
        long at = 0;
        int end = 0;
        for (Slice slice : batch.slices()) {
            int wantedRows = wanted.rows() == Value.Rows.SEQUENCES ? 1 : slice.rowCount();
            end += wanted.rows() == Value.Rows.TOKENS ? slice.tokens().length : wantedRows;
            for (int row = end - wantedRows; row < end; row++) {
                for (double x : rows[row]) {
                    target.set(FLOAT, at, (float) x);
                    at += Float.BYTES;
                }
            }
        }
    }

    /** It holds nothing beyond the views it was given. */
    @Override
    public MemoryUse memory() {
        return new MemoryUse(0, weights.bytes(), 0, 0);
    }

    @Override
    public Counters counters() {
        return new Counters(tokens, 0, 0, 0);
    }

    @Override
    public void observe(OpObserver observer) {
        this.observer = observer;
    }

    @Override
    public OpObserver observer() {
        return observer;
    }

    @Override
    public void close() {}
}
