package dev.millrace.cpu;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.kit.ExecutorConformance;

/** The conformance kit, at the width that {@value Lanes#PROPERTY} names; the build runs it at 512, 256 and 128 bits. */
class CpuConformanceTest extends ExecutorConformance {
    @Override
    protected Executor open() {
        return new CpuProvider().open(0, ExecutorOptions.DEFAULT);
    }
}
