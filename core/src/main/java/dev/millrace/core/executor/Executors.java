package dev.millrace.core.executor;

import dev.millrace.core.MillraceException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;

/** The executors on the class path. */
public final class Executors {
    private Executors() {}

    /**
     * An executor that was found.
     *
     * @param name its name, or the class that could not be loaded
     * @param provider null where the jar is broken
     */
    public record Found(String name, ExecutorProvider provider, Probe probe) {
        public boolean available() {
            return probe instanceof Probe.Available;
        }

        /** Opens its first device with its own defaults. */
        public Executor open() {
            return open(0, ExecutorOptions.DEFAULT);
        }

        /**
         * Opens a device.
         *
         * @throws MillraceException when it is not available, has no such device or cannot honour an option
         */
        public Executor open(int device, ExecutorOptions options) {
            if (!(probe instanceof Probe.Available(List<Device> devices))) {
                throw new MillraceException("executor " + name + " is not available: " + reason());
            }
            if (device < 0 || device >= devices.size()) {
                throw new MillraceException("executor " + name + " has no device " + device + "; it has " + devices.size()
                        + ", numbered from 0; see: millrace devices");
            }
            return provider.open(device, options);
        }

        /** Why it is not available; null where it is. */
        public String reason() {
            return probe instanceof Probe.Unavailable(String reason) ? reason : null;
        }
    }

    /** Every executor on the class path, the preferred first; one whose jar is broken is listed with the reason, not thrown. */
    public static List<Found> discover() {
        List<Found> found = new ArrayList<>();
        var providers = ServiceLoader.load(ExecutorProvider.class).stream().iterator();
        while (true) {
            try {
                if (!providers.hasNext()) {
                    break;
                }
                found.add(load(providers.next()));
            } catch (ServiceConfigurationError e) {
                found.add(new Found("?", null, new Probe.Unavailable(oneLine(e))));
            }
        }
        found.sort(Comparator.comparing((Found f) -> !f.available())
                .thenComparing(f -> f.provider() == null ? 0 : -f.provider().priority()));
        return found;
    }

    private static Found load(ServiceLoader.Provider<ExecutorProvider> entry) {
        try {
            ExecutorProvider provider = entry.get();
            return new Found(provider.name(), provider, provider.probe());
        } catch (ServiceConfigurationError | LinkageError e) {
            Throwable cause = e.getCause() == null ? e : e.getCause();
            return new Found(entry.type().getName(), null, new Probe.Unavailable("broken jar: " + oneLine(cause)));
        }
    }

    /** The preferred available executor. */
    public static Found best() {
        return best(discover());
    }

    /** The preferred available executor of those that {@link #discover} gave. */
    public static Found best(List<Found> found) {
        return found.stream()
                .filter(Found::available)
                .findFirst()
                .orElseThrow(() -> new MillraceException("no executor can run here; see: millrace devices"));
    }

    /**
     * The executor of that name.
     *
     * @throws MillraceException when there is none of that name (lists those there are) or it is not available (says why)
     */
    public static Found named(String name) {
        return named(discover(), name);
    }

    /** The executor of that name of those that {@link #discover} gave; as {@link #named(String)}. */
    public static Found named(List<Found> all, String name) {
        Found found = all.stream()
                .filter(f -> f.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new MillraceException(
                        "no executor named " + name + " on the class path; there are: "
                                + String.join(", ", all.stream().map(Found::name).toList())));
        if (!found.available()) {
            throw new MillraceException("executor " + name + " is not available: " + found.reason());
        }
        return found;
    }

    private static String oneLine(Throwable e) {
        return String.valueOf(e).lines().findFirst().orElse("").strip();
    }
}
