package dev.millrace.models.verify;

import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.ExecutorProvider;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Probe;
import java.util.List;

/** The reference with one kernel made wrong on purpose; for tests of {@code verify}. */
public final class WrongProvider implements ExecutorProvider {
    static final String WRONG_PATH = "layer.0.attn.qkv";

    @Override
    public String name() {
        return "wrong";
    }

    @Override
    public Probe probe() {
        return new Probe.Available(List.of(new Device(0, "wrong", 0, "one kernel is wrong on purpose")));
    }

    @Override
    public int priority() {
        return -1;
    }

    @Override
    public Executor open(int device, ExecutorOptions options) {
        return new WrongExecutor(Executors.named("reference").open(device, options), WRONG_PATH, 0.95f);
    }
}
