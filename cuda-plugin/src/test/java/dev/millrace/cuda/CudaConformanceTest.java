package dev.millrace.cuda;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.kit.ExecutorConformance;
import dev.millrace.core.kit.Tolerance;

/** The conformance kit on the GPU, float32 strict, 16-bit activations beside other weights. */
@GpuOnly
class CudaConformanceTest extends ExecutorConformance {
    @Override
    protected Executor open() {
        return new CudaProvider().open(0, ExecutorOptions.DEFAULT);
    }

    @Override
    protected Tolerance tolerance() {
        return Tolerance.HALF_ACTIVATIONS;
    }
}
