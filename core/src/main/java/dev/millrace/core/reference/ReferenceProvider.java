package dev.millrace.core.reference;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.ExecutorProvider;
import dev.millrace.core.executor.Probe;
import java.util.List;

/**
 * The executor that defines what every op means: scalar, in double precision, written to be read. It is the oracle of
 * the conformance kit and of {@code millrace verify}; it is never chosen unless named.
 */
public final class ReferenceProvider implements ExecutorProvider {
    static final String NAME = "reference";
    static final Device DEVICE = new Device(0, "JVM", Runtime.getRuntime().maxMemory(), "scalar, double precision");

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public Probe probe() {
        return new Probe.Available(List.of(DEVICE));
    }

    @Override
    public int priority() {
        return 0;
    }

    @Override
    public Executor open(int device, ExecutorOptions options) {
        if (device != 0) {
            throw new MillraceException("reference has one device, 0; there is no device " + device);
        }
        options.require(NAME, honours());
        return new ReferenceExecutor();
    }
}
