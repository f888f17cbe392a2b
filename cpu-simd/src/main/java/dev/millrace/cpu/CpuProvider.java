package dev.millrace.cpu;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.ExecutorProvider;
import dev.millrace.core.executor.Probe;
import java.util.List;
import java.util.Set;

/**
 * The executor on this machine's cores. This class refers to no vector type, so that it loads, and can say what to do,
 * in a JVM without the vector module.
 */
public final class CpuProvider implements ExecutorProvider {
    static final String NAME = "cpu-simd";
    private static final String MODULE = "jdk.incubator.vector";

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public Probe probe() {
        if (ModuleLayer.boot().findModule(MODULE).isEmpty()) {
            return new Probe.Unavailable(
                    "the JVM runs without the module " + MODULE + ": start java with --add-modules=" + MODULE);
        }
        try {
            String detail = Vectors.describe() + ", " + Machine.cores() + " workers";
            return new Probe.Available(List.of(new Device(0, Machine.processor(), Machine.memoryBytes(), detail)));
        } catch (LinkageError | RuntimeException e) {
            Throwable cause = e.getCause() == null ? e : e.getCause();
            return new Probe.Unavailable(String.valueOf(cause.getMessage()));
        }
    }

    @Override
    public int priority() {
        return 100;
    }

    @Override
    public Set<ExecutorOptions.Kind> honours() {
        return Set.of(ExecutorOptions.Kind.THREADS);
    }

    @Override
    public Executor open(int device, ExecutorOptions options) {
        if (device != 0) {
            throw new MillraceException(NAME + " has one device, 0; there is no device " + device);
        }
        options.require(NAME, honours());
        if (probe() instanceof Probe.Unavailable(String reason)) {
            throw new MillraceException(NAME + " is not available: " + reason);
        }
        return new CpuExecutor(options);
    }

    /** Loaded only once the module is known to be there. */
    private static final class Vectors {
        static String describe() {
            return Lanes.BITS + "-bit vectors";
        }
    }
}
