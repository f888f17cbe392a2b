package dev.millrace.bench.cli;

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
import dev.millrace.models.Engine;
import dev.millrace.models.Model;
import dev.millrace.models.cli.CliCommand;
import dev.millrace.models.cli.DeviceOptions;
import dev.millrace.models.cli.Interrupt;
import dev.millrace.models.cli.UsageException;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code compare}: the same model on every device, in one report. */
@Command(
        name = "compare",
        description = "Measures the same model on every device and weight format and writes report.html and report.json.")
final class CompareCommand extends CliCommand {
    private static final int ROOF_MILLIS = 300;

    @Mixin
    private SweepOptions sweep = new SweepOptions("all");

    @Option(
            names = "-p",
            paramLabel = "TOKENS",
            converter = Counts.Converter.class,
            description = "Prompt lengths (default: 16,64,256; those that the model has room for).")
    private Counts prompts = Counts.of(16, 64, 256);

    @Option(
            names = "-n",
            paramLabel = "TOKENS",
            converter = Counts.Converter.class,
            description = "Numbers of tokens to decode (default: 32,128; 0 for encoders).")
    private Counts decodes;

    @Option(
            names = "-r",
            paramLabel = "N",
            converter = DeviceOptions.Positive.class,
            description = "Repeats after warming up; the median counts (default: 3).")
    private Integer repeats = 3;

    @Option(
            names = {"-B", "--batch"},
            paramLabel = "B",
            converter = DeviceOptions.Positive.class,
            description = "Sequences side by side (default: 1).")
    private Integer batch = 1;

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

    @Override
    protected int run() {
        costs.keySet().forEach(CompareCommand::known);
        List<Report.Jmh> benchmarks = jmh.stream().flatMap(file -> JmhResults.read(file).stream()).toList();
        List<Report.Run> runs = new ArrayList<>();
        String name;
        try (Model model = sweep.open()) {
            name = model.name();
            if (decodes == null) {
                decodes = model.config().encoder() ? Counts.of(0) : Counts.of(32, 128);
            }
            sweep.each(model, this::say, (engine, executor) -> runs.add(measure(model, engine, executor)));
        }
        Map<String, String> absent = new TreeMap<>();
        Executors.discover().stream().filter(f -> !f.available()).forEach(f -> absent.put(f.name(), f.reason()));
        Report report = new Report(
                name, commandLine(), Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(), version(), machine(),
                absent, runs, benchmarks);
        ReportWriter.write(report, directory);
        if (Interrupt.requested()) {
            say("interrupted: the report holds what was finished");
        }
        out().println(directory.resolve("report.html"));
        out().println(directory.resolve("report.json"));
        return 0;
    }

    private static void known(String executor) {
        if (Executors.discover().stream().map(Found::name).noneMatch(executor::equals)) {
            throw new UsageException("--cost " + executor + "=...: no executor is named " + executor);
        }
    }

    private Report.Run measure(Model model, Engine engine, Executor executor) {
        List<BenchRow> rows = new ArrayList<>();
        List<Phase> phases = new ArrayList<>();
        int positions = model.config().maxPositions();
        try (Bench bench = new Bench(engine, executor, new Bench.Setting(model.name(), batch, repeats, Interrupt::requested));
                Profiler profiler = new Profiler(engine, executor, batch, repeats, Interrupt::requested)) {
            for (int p : prompts.values()) {
                add(rows, p > 0 && p < positions ? bench.prompt(p) : null);
            }
            for (int n : decodes.values()) {
                add(rows, n > 0 && n + Bench.CONTEXT < positions ? bench.decode(n) : null);
            }
            int longest = prompts.values().stream().filter(p -> p < positions).mapToInt(p -> p).max().orElse(0);
            if (longest > 0 && !Interrupt.requested()) {
                phases.add(profiler.prefill(longest));
                if (!model.config().encoder()) {
                    phases.add(profiler.decode(Math.min(longest, positions / 2)));
                }
            }
        }
        return run(engine, executor, rows, phases);
    }

    private static void add(List<BenchRow> rows, BenchRow row) {
        if (row != null) {
            rows.add(row);
        }
    }

    private Report.Run run(Engine engine, Executor executor, List<BenchRow> rows, List<Phase> phases) {
        Map<String, Double> values = new LinkedHashMap<>();
        Map<String, String> units = new LinkedHashMap<>();
        String weights = rows.isEmpty() ? "native" : rows.getFirst().weights();
        try (RoofProbe probe = executor.roofs()) {
            for (RoofProbe.Kind kind : RoofProbe.Kind.values()) {
                if (probe.kinds().contains(kind)) {
                    values.put(kind.name(), probe.measure(kind, 0, 0, ROOF_MILLIS).median());
                    units.put(kind.name(), kind.unit());
                }
            }
        }
        try (Roofs roofs = new Roofs(executor)) {
            double compute = roofs.compute(Bench.mainFormat(engine)) / 1e9;
            if (!Double.isNaN(compute)) {
                values.put("COMPUTE", compute);
                units.put("COMPUTE", "GFLOP/s");
            }
        }
        Double cost = costs.get(executor.name());
        MemoryUse memory = engine.program().memory();
        return new Report.Run(
                executor.name() + " " + weights,
                executor.name(),
                executor.device().name(),
                executor.device().detail(),
                weights,
                cost,
                Map.of("weights", memory.weights(), "mapped", memory.mapped(), "scratch", memory.scratch()),
                values,
                units,
                rows,
                rows.stream().map(row -> product(row, cost)).toList(),
                phases);
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
