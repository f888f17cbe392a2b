package dev.millrace.models.verify;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Counters;
import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.MemoryUse;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.executor.Session;
import dev.millrace.core.executor.Support;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.profile.OpObserver;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Set;

/** Right in all but one node, whose results are multiplied by a factor when it is the last of a graph. */
final class WrongExecutor implements Executor {
    private final Executor right;
    private final String path;
    private final float factor;

    WrongExecutor(Executor right, String path, float factor) {
        this.right = right;
        this.path = path;
        this.factor = factor;
    }

    @Override
    public String name() {
        return "wrong";
    }

    @Override
    public Device device() {
        return right.device();
    }

    @Override
    public int threads() {
        return right.threads();
    }

    @Override
    public Support supports(Op op) {
        return right.supports(op);
    }

    @Override
    public Set<WeightFormat> formats() {
        return right.formats();
    }

    @Override
    public RoofProbe roofs() {
        return right.roofs();
    }

    @Override
    public Program compile(Graph graph, Weights weights, CompileOptions options) {
        Program program = right.compile(graph, weights, options);
        return graph.nodes().getLast().path().equals(path) ? new WrongProgram(program) : program;
    }

    @Override
    public void close() {}

    private final class WrongProgram implements Program {
        private final Program program;

        WrongProgram(Program program) {
            this.program = program;
        }

        @Override
        public void forward(Batch batch, MemorySegment target) {
            program.forward(batch, target);
            Value value = graph().output(batch.output());
            for (long i = 0; i < (long) batch.rows() * value.width(); i++) {
                target.setAtIndex(ValueLayout.JAVA_FLOAT, i, target.getAtIndex(ValueLayout.JAVA_FLOAT, i) * factor);
            }
        }

        @Override
        public Graph graph() {
            return program.graph();
        }

        @Override
        public boolean keepsWeights() {
            return program.keepsWeights();
        }

        @Override
        public Session newSession(int capacity, KvFormat kv) {
            return program.newSession(capacity, kv);
        }

        @Override
        public MemoryUse memory() {
            return program.memory();
        }

        @Override
        public Counters counters() {
            return program.counters();
        }

        @Override
        public void observe(OpObserver observer) {
            program.observe(observer);
        }

        @Override
        public OpObserver observer() {
            return program.observer();
        }

        @Override
        public void close() {
            program.close();
        }
    }
}
