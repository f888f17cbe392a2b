package dev.millrace.bench.jmh;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.executor.RoofProbe.Kind;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.GraphBuilder;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.Index;
import dev.millrace.core.graph.Value;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import dev.millrace.quant.Views;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Linear layers alone, in every weight format, on any executor: {@value #LAYERS} matrices of {@value #WIDTH} x {@value
 * #WIDTH} one after the other, so that weights come from memory and not from a cache. For one token the figure is
 * gigabytes of weights per second beside the read roof; for many, operations per second beside the arithmetic roof.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(value = 1, jvmArgsAppend = {"--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"})
public class LinearBenchmark {
    private static final int WIDTH = 4096;
    private static final int LAYERS = 6;
    private static final int ROOF_MILLIS = 300;

    @Param("cpu-simd")
    public String executor;

    @Param({"F32", "F16", "BF16", "Q8_0", "Q4_0"})
    public WeightFormat format;

    @Param({"1", "512"})
    public int tokens;

    private Executor device;
    private Program program;
    private Session session;
    private Arena arena;
    private MemorySegment target;
    private Batch batch;
    private long bytes;
    private double readRoof;
    private double computeRoof;

    /** Figures beside the score: JMH prints them as further rows. */
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    @State(Scope.Thread)
    public static class Rate {
        /** Gigabytes of weights that were read. */
        public double gigabytes;
        /** Billions of additions and multiplications. */
        public double gigaOperations;
    }

    /** The roofs measured when the trial began, as constant rows. */
    @AuxCounters(AuxCounters.Type.EVENTS)
    @State(Scope.Thread)
    public static class Roof {
        private double read;
        private double compute;

        @Setup(Level.Iteration)
        public void take(LinearBenchmark benchmark) {
            read = benchmark.readRoof;
            compute = benchmark.computeRoof;
        }

        public double readRoofGbS() {
            return read;
        }

        public double computeRoofGflopS() {
            return compute;
        }
    }

    @Setup(Level.Trial)
    public void open() {
        device = Executors.named(executor).provider().open(0, ExecutorOptions.DEFAULT);
        Map<String, Weight> weights = new LinkedHashMap<>();
        weights.put("table", Views.random("table", new Shape(16, WIDTH), WeightFormat.F32, 1, 1f));
        for (int i = 0; i < LAYERS; i++) {
            weights.put("w" + i, Views.random("w" + i, new Shape(WIDTH, WIDTH), format, i, 1f / 64));
            bytes += weights.get("w" + i).bytes();
        }
        Weights all = new Weights(weights);
        GraphBuilder builder = new GraphBuilder("linear", all);
        Value x = builder.add("embed", new Op.Embed(Index.TOKEN, "table", 0));
        for (int i = 0; i < LAYERS; i++) {
            x = builder.add("linear." + i, new Op.Linear("w" + i, Optional.empty()), x);
        }
        builder.output(Graph.LOGITS, x);
        program = device.compile(builder.build(), all, CompileOptions.DEFAULT);
        session = program.newSession(tokens, KvFormat.F32);
        arena = Arena.ofShared();
        target = arena.allocate((long) WIDTH * Float.BYTES, 64);
        batch = Batch.of(session, new int[tokens], Rows.LAST);
        try (RoofProbe roofs = device.roofs()) {
            readRoof = measure(roofs, Kind.READ);
            computeRoof = measure(roofs, roofs.computeRoof(format));
        }
    }

    private static double measure(RoofProbe roofs, Kind kind) {
        return roofs.kinds().contains(kind) ? roofs.measure(kind, 0, 0, ROOF_MILLIS).max() : Double.NaN;
    }

    @TearDown(Level.Trial)
    public void close() {
        session.close();
        program.close();
        device.close();
        arena.close();
    }

    @Benchmark
    public void linear(Rate rate, Roof roof) {
        session.truncate(0);
        program.forward(batch, target);
        rate.gigabytes += bytes * 1e-9;
        rate.gigaOperations += 2.0 * LAYERS * WIDTH * WIDTH * tokens * 1e-9;
    }
}
