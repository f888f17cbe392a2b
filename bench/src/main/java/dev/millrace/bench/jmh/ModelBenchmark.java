package dev.millrace.bench.jmh;

import dev.millrace.bench.measure.Workload;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Executors;
import dev.millrace.models.Engine;
import dev.millrace.models.EngineOptions;
import dev.millrace.models.Model;
import dev.millrace.quant.WeightRequest;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.TearDown;

/**
 * Whole models, on any executor of the class path: {@code -p executor=cpu-simd,cuda}. The score of {@link #prompt} is
 * the time to the first token, that of {@link #decode} the time of {@value #TOKENS} tokens.
 */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
public class ModelBenchmark extends DeviceBenchmark {
    private static final int TOKENS = 32;
    private static final int PROMPT = 128;

    @Param("embedded")
    public String model;

    @Param({"native", "int8", "int4"})
    public String weights;

    private Model opened;
    private Executor device;
    private Engine engine;
    private Workload load;

    @Setup(Level.Trial)
    public void open() {
        opened = model.equals("embedded") ? Model.embedded() : Model.open(model);
        device = Executors.named(executor).open();
        EngineOptions options = EngineOptions.DEFAULT.withWeights(WeightRequest.of(weights).orElseThrow());
        engine = Engine.open(opened, device, options);
        load = new Workload(
                engine.program(), 1, PROMPT + TOKENS + 2, engine.options().kv(), opened.config().vocab());
    }

    @TearDown(Level.Trial)
    public void close() {
        load.close();
        engine.close();
        device.close();
        opened.close();
    }

    @Benchmark
    public double prompt() {
        return load.prompt(PROMPT);
    }

    @Benchmark
    public double decode() {
        return load.decode(1, TOKENS);
    }
}
