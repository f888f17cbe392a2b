package dev.millrace.bench.cli;

import dev.millrace.bench.measure.Roofs;
import dev.millrace.bench.profile.ChromeTrace;
import dev.millrace.bench.profile.OpRow;
import dev.millrace.bench.profile.Phase;
import dev.millrace.bench.profile.Profiler;
import dev.millrace.core.MillraceException;
import dev.millrace.models.Model;
import dev.millrace.models.cli.CliCommand;
import dev.millrace.models.cli.DeviceOptions;
import dev.millrace.models.cli.ModelOptions;
import dev.millrace.models.cli.OutputOptions;
import dev.millrace.models.cli.Progress;
import dev.millrace.models.cli.Run;
import dev.millrace.models.cli.UsageException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code profile}: where the time of a prefill and of a decode step goes, op by op. */
@Command(
        name = "profile",
        description = "Times every op of one prefill and one decode step, by path and by group, beside the roofs.")
final class ProfileCommand extends CliCommand {
    @Mixin
    private ModelOptions modelOptions;

    @Mixin
    private DeviceOptions deviceOptions;

    @Mixin
    private OutputOptions output;

    @Option(
            names = "-p",
            paramLabel = "TOKENS",
            converter = DeviceOptions.Count.class,
            description = "Length of the prompt whose reading is profiled; 0 leaves it out (default: 128).")
    private Integer prompt = 128;

    @Option(
            names = "-n",
            paramLabel = "POSITION",
            converter = DeviceOptions.Count.class,
            description = "Position at which a decode step is profiled; 0 leaves it out (default: 128).")
    private Integer position;

    @Mixin
    private RepeatOptions repeat = new RepeatOptions(5);

    @Option(
            names = "--top",
            paramLabel = "N",
            converter = DeviceOptions.Count.class,
            description = "Ops listed in text output, the slowest first; 0 for all (default: 20).")
    private Integer top = 20;

    @Option(
            names = "--trace",
            paramLabel = "FILE",
            description = "Also write one step of each phase as Chrome trace JSON, for ui.perfetto.dev.")
    private Path trace;

    @Override
    protected int run() {
        try (Run run = Run.open(modelOptions, deviceOptions, this::say, this::check)) {
            int at = position != null ? position : run.model().config().encoder() ? 0 : 128;
            if (prompt == 0 && at == 0) {
                throw new UsageException("nothing to profile: -p and -n are both 0");
            }
            List<Phase> phases = new ArrayList<>();
            try (Progress progress = Progress.of("profile", (prompt > 0 ? 1 : 0) + (at > 0 ? 1 : 0));
                    Roofs roofs = new Roofs(run.executor())) {
                Profiler profiler =
                        new Profiler(run.engine(), roofs, repeat.batch(), repeat.repeats(), progress::stopped);
                if (prompt > 0) {
                    add(phases, profiler.prefill(prompt));
                    progress.step();
                }
                if (at > 0) {
                    add(phases, profiler.decode(at));
                }
                if (trace != null && !profiler.traced().isEmpty()) {
                    ChromeTrace.write(trace, run.model().name() + " on " + run.executor().name(), profiler.traced());
                    say("trace: " + trace + " (open it in ui.perfetto.dev)");
                }
            }
            print(run, phases);
        }
        return 0;
    }

    private static void add(List<Phase> phases, Phase phase) {
        if (phase != null) {
            phases.add(phase);
        }
    }

    private void check(Model model) {
        int at = position == null ? 0 : position;
        LengthOptions.fits(model, "-p " + prompt, prompt);
        LengthOptions.fits(model, "-n " + at + " and the steps timed from there on", at == 0 ? 0 : (long) at + Profiler.DECODE_STEPS);
        if (model.config().encoder() && position != null && position > 0) {
            throw new MillraceException(model.name() + " is an encoder and has no decode step; use -n 0");
        }
    }

    private void print(Run run, List<Phase> phases) {
        if (output.json()) {
            Map<String, Object> json = new LinkedHashMap<>();
            json.put("model", run.model().name());
            json.put("executor", run.executor().name());
            json.put("device", run.executor().device().name());
            json.put("batch", repeat.batch());
            json.put("phases", phases);
            OutputOptions.print(out(), json);
        } else {
            phases.forEach(this::print);
        }
    }

    private void print(Phase phase) {
        out().printf(
                "%s of %d tokens at position %d: %s us a step; the ops explain %s us (%s%%), observed %s us%s%n",
                phase.phase(), phase.tokens(), phase.context(), RowWriter.number(phase.stepUs()),
                RowWriter.number(phase.sumUs()), RowWriter.number(100 * phase.sumUs() / phase.stepUs()),
                RowWriter.number(phase.profiledUs()),
                phase.percentOfRoof() == null ? "" : "; " + RowWriter.number(phase.percentOfRoof())
                        + "% of the roof, read " + RowWriter.number(phase.readGbS()) + " GB/s");
        Map<String, Double> groups = new TreeMap<>();
        phase.ops().forEach(op -> groups.merge(op.group(), op.us(), Double::sum));
        groups.entrySet().stream().sorted(Map.Entry.<String, Double>comparingByValue().reversed()).forEach(g -> out().printf(
                "  %-12s %10s us %6s%%%n", g.getKey(), RowWriter.number(g.getValue()),
                RowWriter.number(100 * g.getValue() / phase.sumUs())));
        out().printf("  %-32s %-14s %10s %9s %9s %8s  %s%n", "path", "op", "us", "GB/s", "GFLOP/s", "% roof", "roof");
        phase.ops().stream().limit(top == 0 ? Long.MAX_VALUE : top).forEach(op -> out().println(line(op)));
        if (top > 0 && phase.ops().size() > top) {
            out().println("  and " + (phase.ops().size() - top) + " more; --top 0 lists all");
        }
        out().println();
        out().flush();
    }

    private static String line(OpRow op) {
        return "  %-32s %-14s %10s %9s %9s %8s  %s"
                .formatted(
                        op.path(), op.op(), RowWriter.number(op.us()), RowWriter.number(op.gbS()),
                        RowWriter.number(op.gflopS()), RowWriter.number(op.percentOfRoof()), op.roof());
    }
}
