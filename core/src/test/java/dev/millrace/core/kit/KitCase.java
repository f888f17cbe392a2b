package dev.millrace.core.kit;

import dev.millrace.core.executor.Executor;

/** One thing that every executor must do right. */
public record KitCase(String name, Check check) {
    /** Throws {@link AssertionError} when it does not. */
    @FunctionalInterface
    public interface Check {
        void run(Executor executor, Tolerance tolerance);
    }
}
