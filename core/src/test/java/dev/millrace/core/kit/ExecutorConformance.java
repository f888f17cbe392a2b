package dev.millrace.core.kit;

import dev.millrace.core.executor.Executor;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestInstance;

/** Runs the {@link Kit} on an executor; an executor's tests extend it and open theirs. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
public abstract class ExecutorConformance {
    private Executor executor;

    /** Opens the executor under test; it is closed after the last case. */
    protected abstract Executor open();

    /** What rounding it is allowed. */
    protected Tolerance tolerance() {
        return Tolerance.FLOAT_ACTIVATIONS;
    }

    @TestFactory
    Stream<DynamicTest> conformance() {
        executor = open();
        return Kit.cases().stream()
                .map(c -> DynamicTest.dynamicTest(c.name(), () -> c.check().run(executor, tolerance())));
    }

    @AfterAll
    void close() {
        if (executor != null) {
            executor.close();
        }
    }
}
