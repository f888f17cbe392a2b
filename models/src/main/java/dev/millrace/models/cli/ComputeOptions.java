package dev.millrace.models.cli;

import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.models.EngineOptions;
import dev.millrace.quant.WeightRequest;
import picocli.CommandLine.Option;

/** {@code --kv}, {@code --math} and {@code --prefill-chunk}: how a device computes, whichever it is. */
public final class ComputeOptions {
    @Option(
            names = "--kv",
            paramLabel = "FORMAT",
            description = "How keys and values are kept: ${COMPLETION-CANDIDATES} (default: auto, the executor's choice:"
                    + " cuda takes f16 beside weights of 16 bits and less, else f32).")
    private Kv kv = Kv.auto;

    @Option(
            names = "--math",
            paramLabel = "PRECISION",
            description = "What products of f32 weights may round to: ${COMPLETION-CANDIDATES}; tf32 only on executors"
                    + " that have it (default: f32).")
    private Precision math = Precision.f32;

    @Option(
            names = "--prefill-chunk",
            paramLabel = "TOKENS",
            converter = DeviceOptions.Positive.class,
            description = "Most prompt tokens processed at once (default: the executor's choice: 512 on cpu-simd, up to"
                    + " 4096 on cuda as its memory allows).")
    private Integer chunk;

    private enum Kv {
        auto,
        f32,
        f16
    }

    private enum Precision {
        f32,
        tf32
    }

    /** How to open a device with so many worker threads; 0 leaves them to the executor. */
    public ExecutorOptions executor(int threads) {
        return new ExecutorOptions(
                threads, math == Precision.tf32 ? ExecutorOptions.Math.TF32 : ExecutorOptions.Math.F32);
    }

    /** How to lay out a model. */
    public EngineOptions engine(WeightRequest weights) {
        KvFormat format =
                switch (kv) {
                    case auto -> null;
                    case f32 -> KvFormat.F32;
                    case f16 -> KvFormat.F16;
                };
        return new EngineOptions(weights, format, new CompileOptions(chunk == null ? 0 : chunk), true);
    }
}
