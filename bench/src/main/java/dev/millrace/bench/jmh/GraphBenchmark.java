package dev.millrace.bench.jmh;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.executor.RoofProbe.Kind;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.profile.OpCost;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * A graph of one kind of op, run again and again on any executor of the class path. Beside the score JMH prints what was
 * streamed and computed a second, as {@link OpCost} counts it, and its share of the roofs measured when the trial began.
 */
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
public abstract class GraphBenchmark extends DeviceBenchmark {
    private static final int ROOF_MILLIS = 300;

    private Executor device;
    private Program program;
    private Session session;
    private Arena arena;
    private MemorySegment target;
    private Batch batch;
    private int context;
    private double gigabytes;
    private double gigaOperations;
    private double readRoof;
    private double computeRoof;

    /** A graph whose output is {@link Graph#LOGITS}, its weights, and the format that its arithmetic roof goes by. */
    protected record Subject(Graph graph, Weights weights, WeightFormat format) {}

    /** Figures beside the score. JMH divides them by the seconds, so a share of what a second allows becomes percent. */
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    @State(Scope.Thread)
    public static class Rate {
        /** Gigabytes of weights, keys and values that had to stream: GB/s. */
        public double gigabytes;
        /** Billions of additions and multiplications: GFLOP/s. */
        public double gigaOperations;
        /** Of the read bandwidth measured when the trial began. */
        public double percentOfReadRoof;
        /** Of the arithmetic rate measured when the trial began. */
        public double percentOfComputeRoof;
    }

    /**
     * To be called when a trial begins.
     *
     * @param tokens that each run processes
     * @param context positions before them
     */
    protected final void open(Subject subject, int tokens, int context, KvFormat kv) {
        this.context = context;
        device = Executors.named(executor).open();
        program = device.compile(subject.graph(), subject.weights(), CompileOptions.DEFAULT);
        session = program.newSession(context + tokens, kv);
        arena = Arena.ofShared();
        target = arena.allocate((long) tokens * subject.graph().output(Graph.LOGITS).width() * Float.BYTES, 64);
        OpCost cost = OpCost.of(
                program.graph(), Graph.LOGITS, subject.weights(), new OpCost.Step(1, tokens, 1, context, kv));
        gigabytes = cost.streamedBytes() * 1e-9;
        gigaOperations = cost.flops() * 1e-9;
        if (context > 0) {
            program.forward(Batch.of(session, new int[context], Rows.LAST), target);
        }
        batch = Batch.of(session, new int[tokens], Rows.LAST);
        try (RoofProbe roofs = device.roofs()) {
            readRoof = measure(roofs, Kind.READ);
            computeRoof = measure(roofs, roofs.computeRoof(subject.format()));
        }
        System.out.printf(
                Locale.ROOT, "%n# Roofs: reads %.1f GB/s, computes %.0f GFLOP/s (%s)%n", readRoof, computeRoof,
                device.device().name());
    }

    private static double measure(RoofProbe roofs, Kind kind) {
        return roofs.kinds().contains(kind) ? roofs.measure(kind, 0, 0, ROOF_MILLIS).max() : Double.NaN;
    }

    @Setup(Level.Trial)
    public abstract void open();

    /** One run of the graph; the result is in the host's hands when it returns. */
    protected final void run(Rate rate) {
        session.truncate(context);
        program.forward(batch, target);
        rate.gigabytes += gigabytes;
        rate.gigaOperations += gigaOperations;
        rate.percentOfReadRoof += 100 * gigabytes / readRoof;
        rate.percentOfComputeRoof += 100 * gigaOperations / computeRoof;
    }

    @TearDown(Level.Trial)
    public void close() {
        session.close();
        program.close();
        device.close();
        arena.close();
    }
}
