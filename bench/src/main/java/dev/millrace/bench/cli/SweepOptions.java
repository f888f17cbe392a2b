package dev.millrace.bench.cli;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Executors.Found;
import dev.millrace.models.Engine;
import dev.millrace.models.Model;
import dev.millrace.models.cli.ComputeOptions;
import dev.millrace.models.cli.DeviceOptions;
import dev.millrace.models.cli.Interrupt;
import dev.millrace.models.cli.ModelOptions;
import dev.millrace.models.cli.Run;
import dev.millrace.models.cli.UsageException;
import dev.millrace.quant.WeightRequest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** One model on every combination of executors, thread counts and weight formats that was asked for. */
final class SweepOptions {
    private static final String ALL = "all";

    @Option(
            names = {"-m", "--model"},
            paramLabel = "MODEL",
            description = "A directory, a file, or synthetic:NAME for random weights of a known shape"
                    + " (default: the embedded " + Model.EMBEDDED + ").")
    private String model;

    @Option(
            names = {"-e", "--executor"},
            paramLabel = "NAMES",
            description = "Executors, parted by commas, or all for every available device (bench: the best by default; compare: all).")
    private String executors;

    @Option(
            names = "--device",
            paramLabel = "N",
            converter = DeviceOptions.Count.class,
            description = "Which of the executor's devices (default: 0).")
    private Integer device = 0;

    @Option(
            names = "--threads",
            paramLabel = "N",
            converter = Counts.Converter.class,
            description = "Worker threads, a list or range; only for executors that have them (default: the executor's choice).")
    private Counts threads = Counts.of(0);

    @Option(
            names = "--weights",
            paramLabel = "FORMATS",
            converter = Requests.Converter.class,
            description = "Formats of the linear layers' weights, parted by commas: native, f32, f16, bf16, int8, int4"
                    + " (default: native).")
    private Requests weights = new Requests(List.of(WeightRequest.NATIVE));

    @Mixin
    private ComputeOptions compute;

    private final String byDefault;

    /** Of the best executor alone. */
    SweepOptions() {
        this("");
    }

    /** @param byDefault executors when none are named; empty for the best */
    SweepOptions(String byDefault) {
        this.byDefault = byDefault;
    }

    /** Weight formats, parted by commas. */
    record Requests(List<WeightRequest> formats) {
        /** For picocli. */
        static final class Converter implements ITypeConverter<Requests> {
            @Override
            public Requests convert(String text) {
                ModelOptions.Request one = new ModelOptions.Request();
                return new Requests(Arrays.stream(text.split(",", -1)).map(one::convert).toList());
            }
        }
    }

    /** What is done with each. */
    interface Visitor {
        void visit(Engine engine, Executor executor);
    }

    /** Whether runs differ in their threads. */
    boolean severalThreads() {
        return threads.values().size() > 1;
    }

    Model open() {
        return ModelOptions.open(model);
    }

    /** Opens every combination in turn and closes it again; says on {@code say} which executor runs. */
    void each(Model model, Consumer<String> say, Visitor visitor) {
        for (Chosen each : chosen(say)) {
            for (ExecutorOptions options : options(each)) {
                try (Executor executor = each.found().open(device, options)) {
                    say.accept("executor: " + executor.name() + ", " + executor.device().name() + ", "
                            + executor.device().detail());
                    for (WeightRequest format : weights.formats()) {
                        if (Interrupt.requested()) {
                            return;
                        }
                        try (Engine engine = Run.engine(model, executor, compute.engine(format))) {
                            visitor.visit(engine, executor);
                        }
                    }
                }
            }
        }
    }

    /**
     * The options of each of its runs. One that was named must honour what was asked for; one that came with others is
     * run without what it does not have.
     */
    private List<ExecutorOptions> options(Chosen chosen) {
        return threads.values().stream()
                .map(compute::executor)
                .map(o -> chosen.named() ? o : o.only(chosen.found().provider().honours()))
                .distinct()
                .toList();
    }

    /** @param named whether it was asked for by its name */
    private record Chosen(Found found, boolean named) {}

    private List<Chosen> chosen(Consumer<String> say) {
        if (executors == null && byDefault.isEmpty()) {
            return List.of(new Chosen(Executors.best(), true));
        }
        List<String> names = executors == null ? List.of(byDefault) : List.of(executors.split(",", -1));
        List<Found> all = Executors.discover();
        List<Chosen> chosen = new ArrayList<>();
        for (String name : names) {
            if (name.equals(ALL)) {
                for (Found found : all) {
                    if (!found.available()) {
                        say.accept(found.name() + ": not available: " + found.reason());
                    } else if (found.provider().priority() > 0) {
                        chosen.add(new Chosen(found, false));
                    }
                }
            } else if (all.stream().noneMatch(f -> f.name().equals(name))) {
                throw new UsageException("no executor is named " + name + "; there are: all, "
                        + all.stream().map(Found::name).collect(Collectors.joining(", ")));
            } else {
                chosen.add(new Chosen(Executors.named(name), true));
            }
        }
        return chosen;
    }
}
