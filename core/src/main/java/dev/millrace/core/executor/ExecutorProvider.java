package dev.millrace.core.executor;

import java.util.Set;

/**
 * The entry of an executor, found by {@link java.util.ServiceLoader}: name it in {@code
 * META-INF/services/dev.millrace.core.executor.ExecutorProvider} of a jar, put the jar on the class path, done.
 * Creating a provider loads no native code and cannot fail.
 */
public interface ExecutorProvider {
    /** The name used with {@code --executor}, such as {@code cpu-simd}. */
    String name();

    /** Looks whether it can run here. Never throws and leaves nothing loaded that a later {@link #open} would not use. */
    Probe probe();

    /**
     * How much it is preferred when none is named; the highest of the available ones wins. The CPU has 100, an
     * accelerator more, the reference executor 0.
     */
    int priority();

    /** Which options it honours; {@link #open} refuses the others ({@link ExecutorOptions#require}). */
    default Set<ExecutorOptions.Kind> honours() {
        return Set.of();
    }

    /**
     * Opens a device.
     *
     * @param device an index from {@link Probe.Available#devices}
     * @throws dev.millrace.core.MillraceException when there is no such device, or it cannot honour an option
     */
    Executor open(int device, ExecutorOptions options);
}
