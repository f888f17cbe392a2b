package dev.millrace.cuda;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.ExecutorProvider;
import dev.millrace.core.executor.Probe;
import java.util.Set;

/** The entry of the CUDA executor. */
public final class CudaProvider implements ExecutorProvider {
    static final String NAME = "cuda";

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public Probe probe() {
        return CudaProbe.probe();
    }

    @Override
    public int priority() {
        return 200;
    }

    @Override
    public Set<ExecutorOptions.Kind> honours() {
        return Set.of(ExecutorOptions.Kind.TF32);
    }

    @Override
    public Executor open(int device, ExecutorOptions options) {
        options.require(NAME, honours());
        return switch (probe()) {
            case Probe.Unavailable(String reason) ->
                throw new MillraceException("executor " + NAME + " is not available: " + reason);
            case Probe.Available available -> {
                if (device < 0 || device >= available.devices().size()) {
                    throw new MillraceException("executor " + NAME + " has no device " + device + "; it has "
                            + available.devices().size() + ", see: millrace devices");
                }
                yield CudaExecutor.open(CudaProbe.ordinal(device), available.devices().get(device), options);
            }
        };
    }
}
