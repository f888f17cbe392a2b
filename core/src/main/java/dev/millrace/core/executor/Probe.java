package dev.millrace.core.executor;

import java.util.List;

/** Whether an executor can run here. */
public sealed interface Probe {
    /** It can, on these devices. */
    record Available(List<Device> devices) implements Probe {
        public Available {
            devices = List.copyOf(devices);
        }
    }

    /** It cannot; {@code reason} is one line that says why and, where something helps, what to do. */
    record Unavailable(String reason) implements Probe {}
}
