package dev.millrace.bench.cli;

import dev.millrace.bench.measure.AboveRoofException;
import dev.millrace.bench.measure.Bench;
import dev.millrace.bench.measure.BenchRow;
import dev.millrace.bench.measure.Roofs;
import dev.millrace.bench.profile.Phase;
import dev.millrace.bench.profile.Profiler;
import dev.millrace.bench.report.JmhResults;
import dev.millrace.bench.report.Report;
import dev.millrace.bench.report.Report.Product;
import dev.millrace.bench.report.ReportWriter;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Executors.Found;
import dev.millrace.core.executor.MemoryUse;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.graph.Op;
import dev.millrace.models.Engine;
import dev.millrace.models.Model;
import dev.millrace.models.cli.CliCommand;
import dev.millrace.models.cli.Interrupt;
import dev.millrace.models.cli.Progress;
import dev.millrace.models.cli.UsageException;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Supplier;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code compare}: the same model on every device, in one report. */
@Command(
        name = "compare",
        description = "Measures the same model on every device and weight format and writes report.html and report.json.")
final class CompareCommand extends CliCommand {
    @Mixin
    private SweepOptions sweep = new SweepOptions("all");

    @Mixin
    private LengthOptions lengths = new LengthOptions(Counts.of(16, 64, 256), Counts.of(32, 128));

    @Mixin
    private RepeatOptions repeat = new RepeatOptions(3);

    @Option(
            names = "--cost",
            paramLabel = "EXECUTOR=PRICE",
            description = "Price of an executor's device per month, in any currency; may be given for each.")
    private Map<String, Double> costs = Map.of();

    @Option(names = "--jmh", paramLabel = "FILE", description = "Results of JMH (-rf json) to show as well; may be repeated.")
    private List<Path> jmh = List.of();

    @Option(
            names = {"-o", "--output"},
            paramLabel = "DIR",
            description = "Where report.html and report.json go; made if absent (default: millrace-report).")
    private Path directory = Path.of("millrace-report");

    private final List<Report.Run> runs = new CopyOnWriteArrayList<>();

    @Override
    protected int run() {
        costs.keySet().forEach(CompareCommand::known);
        List<Report.Jmh> benchmarks = jmh.stream().flatMap(file -> JmhResults.read(file).stream()).toList();
        try (Model model = sweep.open()) {
            String name = model.name();
            Interrupt.rescue(() -> write(name, benchmarks));
            sweep.each(model, this::say, this::measure);
            write(name, benchmarks);
        }
        if (Interrupt.requested()) {
            say("interrupted: the report holds what was finished");
        }
        return 0;
    }

    /** Writes what was measured so far. */
    private synchronized void write(String model, List<Report.Jmh> benchmarks) {
        Map<String, String> absent = new TreeMap<>();
        Executors.discover().stream().filter(f -> !f.available()).forEach(f -> absent.put(f.name(), f.reason()));
        Report report = new Report(
                model, commandLine(), Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(), version(), machine(),
                absent, List.copyOf(runs), benchmarks);
        ReportWriter.write(report, directory);
        out().println(directory.resolve("report.html"));
        out().println(directory.resolve("report.json"));
        out().flush();
    }

    private static void known(String executor) {
        if (Executors.discover().stream().map(Found::name).noneMatch(executor::equals)) {
            throw new UsageException("--cost " + executor + "=...: no executor is named " + executor);
        }
    }

    /** The roofs come first: whenever the run is interrupted, what was measured by then is whole. */
    private void measure(Engine engine, Executor executor) {
        Model model = engine.model();
        int positions = model.config().maxPositions();
        List<Integer> prompts = lengths.prompts().values().stream().filter(p -> p > 0 && p < positions).toList();
        List<Integer> decodes =
                lengths.decodes(model).values().stream().filter(n -> n > 0 && n + Bench.CONTEXT < positions).toList();
        int longest = prompts.stream().mapToInt(p -> p).max().orElse(0);
        try (Roofs roofs = new Roofs(executor)) {
            Report.Run run = started(engine, executor, roofs);
            runs.add(run);
            try (Progress progress = Progress.of("compare " + run.label(), prompts.size() + decodes.size() + 2L)) {
                var setting = new Bench.Setting(model.name(), repeat.batch(), repeat.repeats(), progress::stopped);
                Bench bench = new Bench(engine, executor, roofs, setting);
                Profiler profiler = new Profiler(engine, roofs, repeat.batch(), repeat.repeats(), progress::stopped);
                prompts.forEach(p -> add(run, () -> bench.prompt(p), progress));
                decodes.forEach(n -> add(run, () -> bench.decode(n), progress));
                if (longest > 0) {
                    add(run, profiler.prefill(longest), progress);
                }
                if (longest > 0 && !model.config().encoder()) {
                    add(run, profiler.decode(Math.min(longest, positions / 2)), progress);
                }
            }
            run.memory().putAll(memory(engine)); // scratch has grown
        }
    }

    private void add(Report.Run run, Supplier<BenchRow> test, Progress progress) {
        try {
            BenchRow row = Interrupt.requested() ? null : test.get();
            if (row != null) {
                run.rows().add(row);
                run.products().add(product(row, run.costPerMonth()));
            }
        } catch (AboveRoofException e) {
            progress.aside(() -> say("left out: " + e.getMessage()));
        }
        progress.step();
    }

    private static void add(Report.Run run, Phase phase, Progress progress) {
        if (phase != null) {
            run.phases().add(phase);
            progress.step();
        }
    }

    /** A run with its roofs and no result yet. */
    private Report.Run started(Engine engine, Executor executor, Roofs roofs) {
        Map<String, Double> values = new LinkedHashMap<>();
        Map<String, String> units = new LinkedHashMap<>();
        for (RoofProbe.Kind kind : RoofProbe.Kind.values()) {
            if (roofs.has(kind)) {
                values.put(kind.name(), roofs.rate(kind));
                units.put(kind.name(), kind.unit());
            }
        }
        double compute = roofs.compute(Bench.mainFormat(engine)) / 1e9;
        if (!Double.isNaN(compute)) {
            values.put("COMPUTE", compute);
            units.put("COMPUTE", "GFLOP/s");
        }
        String weights = Bench.mainFormat(engine).label();
        return new Report.Run(
                executor.name() + " " + weights + (sweep.severalThreads() ? " x" + executor.threads() : ""),
                executor.name(),
                executor.device().name(),
                executor.device().detail(),
                weights,
                costs.get(executor.name()),
                new ConcurrentHashMap<>(memory(engine)),
                values,
                units,
                new CopyOnWriteArrayList<>(),
                new CopyOnWriteArrayList<>(),
                new CopyOnWriteArrayList<>());
    }

    /** Bytes that the engine holds, and those that each token of context adds. */
    private static Map<String, Long> memory(Engine engine) {
        MemoryUse memory = engine.program().memory();
        long perToken = engine.program().graph().attentions().stream()
                .filter(Op.Attention::causal)
                .mapToLong(a -> 2L * a.kvHeads() * a.headDim() * engine.options().kv().bytes())
                .sum();
        return Map.of(
                "weights", memory.weights(), "mapped", memory.mapped(), "scratch", memory.scratch(), "cache_per_token", perToken);
    }

    private static Product product(BenchRow row, Double cost) {
        double ms = row.ttftMs() != null ? row.ttftMs() : 1e3 * row.batch() / row.tokensPerS();
        return new Product(
                row.test(),
                ms,
                row.percentOfRoof() == null ? null : ms * row.percentOfRoof() / 100,
                cost == null ? null : ms * cost,
                row.readGbS() == null ? null : row.readGbS() * ms * 1e-3);
    }

    private String commandLine() {
        return "millrace " + String.join(" ", arguments());
    }

    private static Map<String, Object> machine() {
        Map<String, Object> machine = new LinkedHashMap<>();
        machine.put("os", System.getProperty("os.name") + " " + System.getProperty("os.arch"));
        machine.put("java", System.getProperty("java.vm.name") + " " + System.getProperty("java.version"));
        machine.put("processors", Runtime.getRuntime().availableProcessors());
        return machine;
    }

    private static String version() {
        String version = CompareCommand.class.getPackage().getImplementationVersion();
        return version == null ? "(built from source)" : version;
    }
}
