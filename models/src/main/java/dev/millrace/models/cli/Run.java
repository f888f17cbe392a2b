package dev.millrace.models.cli;

import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Executors.Found;
import dev.millrace.models.Engine;
import dev.millrace.models.EngineOptions;
import dev.millrace.models.Model;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/**
 * A model on an executor, as the command line asked for it. Opening it says in one line which executor runs and why.
 */
public record Run(Model model, Executor executor, Engine engine) implements AutoCloseable {

    /**
     * Opens everything.
     *
     * @param say takes lines for standard error
     * @param check sees the model before an executor is opened for it; throws where the command cannot use it
     */
    public static Run open(
            ModelOptions modelOptions, DeviceOptions deviceOptions, Consumer<String> say, Consumer<Model> check) {
        Model model = modelOptions.open();
        Executor executor = null;
        try {
            check.accept(model);
            executor = openExecutor(deviceOptions, say);
            Engine engine = engine(model, executor, deviceOptions.engineOptions(modelOptions.weights()));
            engine.notes().forEach(note -> say.accept("weights: " + note));
            return new Run(model, executor, engine);
        } catch (Throwable e) {
            if (executor != null) {
                executor.close();
            }
            model.close();
            throw e;
        }
    }

    /** Lays a model out on a device, with a progress bar where that takes long. */
    public static Engine engine(Model model, Executor executor, EngineOptions options) {
        try (Progress progress = Progress.of("load, MiB", 0)) {
            return Engine.open(model, executor, options.withProgress((done, all) -> {
                Interrupt.check();
                progress.at(done >> 20, all >> 20);
            }));
        }
    }

    /** Opens the executor that was asked for, else the best, and says which and why. */
    public static Executor openExecutor(DeviceOptions options, Consumer<String> say) {
        List<Found> all = Ahead.executors();
        Found found = choose(all, options.executor());
        Executor executor = found.open(options.device(), options.executorOptions());
        say.accept(line(all, found, executor.device(), options.executor() != null));
        return executor;
    }

    private static Found choose(List<Found> all, String name) {
        if (name == null) {
            return Executors.best(all);
        }
        if (all.stream().noneMatch(found -> found.name().equals(name))) {
            throw new UsageException("no executor is named " + name + "; there are: "
                    + all.stream().map(Found::name).collect(Collectors.joining(", ")));
        }
        return Executors.named(all, name);
    }

    private static String line(List<Found> all, Found chosen, Device device, boolean asked) {
        String why = asked
                ? "asked for"
                : all.stream()
                        .filter(other -> !other.available())
                        .map(other -> other.name() + ": " + other.reason())
                        .collect(Collectors.joining("; "));
        return "executor: " + chosen.name() + ", " + device.name() + ", " + device.detail()
                + (why.isEmpty() ? " (the best available)" : " (" + why + ")");
    }

    @Override
    public void close() {
        try (model;
                executor;
                engine) {
            // closed in reverse order
        }
    }
}
