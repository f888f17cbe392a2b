package dev.millrace.models;

import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.quant.WeightRequest;

/**
 * How a model is laid out on a device.
 *
 * @param weights the format of the linear layers' weights
 * @param kv how keys and values are kept; null leaves it to the executor
 * @param compile limits of the compiled program
 * @param fuse whether ops are fused into those larger ones that the executor supports
 */
public record EngineOptions(WeightRequest weights, KvFormat kv, CompileOptions compile, boolean fuse) {
    public static final EngineOptions DEFAULT =
            new EngineOptions(WeightRequest.NATIVE, null, CompileOptions.DEFAULT, true);

    public EngineOptions withWeights(WeightRequest format) {
        return new EngineOptions(format, kv, compile, fuse);
    }

    public EngineOptions withProgress(CompileOptions.Progress progress) {
        return new EngineOptions(weights, kv, compile.withProgress(progress), fuse);
    }

    public EngineOptions withKv(KvFormat format) {
        return new EngineOptions(weights, format, compile, fuse);
    }
}
