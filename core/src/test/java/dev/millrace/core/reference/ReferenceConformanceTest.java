package dev.millrace.core.reference;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.kit.ExecutorConformance;

/** The kit itself holds for the executor that defines it: sessions, decoding, refusals and observation. */
class ReferenceConformanceTest extends ExecutorConformance {
    @Override
    protected Executor open() {
        return new ReferenceProvider().open(0, ExecutorOptions.DEFAULT);
    }
}
