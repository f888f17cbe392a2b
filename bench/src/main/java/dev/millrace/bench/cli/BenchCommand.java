package dev.millrace.bench.cli;

import dev.millrace.bench.measure.Bench;
import dev.millrace.bench.measure.BenchRow;
import dev.millrace.bench.measure.Roofs;
import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Executor;
import dev.millrace.models.Engine;
import dev.millrace.models.Model;
import dev.millrace.models.cli.CliCommand;
import dev.millrace.models.cli.Interrupt;
import dev.millrace.models.cli.Progress;
import dev.millrace.models.cli.UsageException;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code bench}: tokens per second of prompts and of decoding, each beside the roof measured round it. */
@Command(
        name = "bench",
        description = "Measures reading prompts (pp) and decoding (tg) in tokens per second, beside the device's roofs"
                + " measured in the same run.")
final class BenchCommand extends CliCommand {
    @Mixin
    private SweepOptions sweep;

    @Mixin
    private LengthOptions lengths = new LengthOptions(Counts.of(512), Counts.of(128));

    @Option(
            names = {"-d", "--depth"},
            paramLabel = "TOKENS",
            converter = Counts.Converter.class,
            description = "Tokens before those to decode, written likewise (default: " + Bench.CONTEXT + ").")
    private Counts depths = Counts.of(Bench.CONTEXT);

    @Option(
            names = "--logits",
            paramLabel = "ROWS",
            description = "Of a prompt, ${COMPLETION-CANDIDATES}: give out its first new token, or compute the logits of"
                    + " every token and leave them on the device (default: last).")
    private Logits logits = Logits.last;

    @Option(
            names = "--sequence",
            paramLabel = "TOKENS",
            converter = Counts.Converter.class,
            description = "Also whole sequences of these lengths, in seconds, with and without a key/value cache.")
    private Counts sequences = Counts.of(0);

    @Mixin
    private RepeatOptions repeat = new RepeatOptions(5);

    @Option(
            names = "--format",
            paramLabel = "FORMAT",
            description = "How rows are printed: ${COMPLETION-CANDIDATES} (default: text).")
    private RowWriter.Format format = RowWriter.Format.text;

    private enum Logits {
        last,
        all
    }

    @Override
    protected int run() {
        if (depths.values().contains(0)) {
            throw new UsageException("--depth 0: decoding starts after one token at least");
        }
        try (RowWriter writer = new RowWriter(out(), format);
                Model model = sweep.open()) {
            check(model);
            Interrupt.rescue(writer::close);
            sweep.each(model, this::say, (engine, executor) -> measure(writer, engine, executor));
            if (Interrupt.requested()) {
                say("interrupted: " + writer.rows().size() + " rows were finished");
            } else if (writer.rows().isEmpty()) {
                throw new MillraceException("nothing was measured: -p, -n and --sequence are all 0");
            }
        }
        return 0;
    }

    /** Refuses before anything is measured what the model's context has no room for. */
    private void check(Model model) {
        int prompt = most(lengths.prompts());
        int decode = most(lengths.decodes(model));
        LengthOptions.fits(model, "-p " + prompt, prompt);
        LengthOptions.fits(model, "-n " + decode + " after --depth " + most(depths), decode == 0 ? 0 : (long) most(depths) + decode);
        LengthOptions.fits(model, "--sequence " + most(sequences), most(sequences));
    }

    private static int most(Counts counts) {
        return counts.values().stream().mapToInt(n -> n).max().orElse(0);
    }

    private void measure(RowWriter writer, Engine engine, Executor executor) {
        Model model = engine.model();
        Counts prompts = lengths.prompts();
        Counts decodes = lengths.decodes(model);
        long tests = prompts.tests() + decodes.tests() * depths.tests() + 2 * sequences.tests();
        try (Progress progress = Progress.of("bench " + executor.name(), tests);
                Roofs roofs = new Roofs(executor)) {
            var setting = new Bench.Setting(model.name(), repeat.batch(), repeat.repeats(), progress::stopped);
            Bench bench = new Bench(engine, executor, roofs, setting);
            Consumer<BenchRow> finished = row -> {
                progress.aside(() -> writer.write(row));
                progress.step();
            };
            rows(prompts, logits == Logits.all ? bench::logits : bench::prompt, finished);
            for (int depth : depths.values()) {
                rows(decodes, n -> bench.decode(depth, n), finished);
            }
            rows(sequences, n -> bench.sequence(n, true), finished);
            rows(sequences, n -> bench.sequence(n, false), finished);
        }
    }

    private static void rows(Counts counts, IntFunction<BenchRow> test, Consumer<BenchRow> finished) {
        for (int n : counts.values()) {
            if (n > 0 && !Interrupt.requested()) {
                BenchRow row = test.apply(n);
                if (row != null) {
                    finished.accept(row);
                }
            }
        }
    }
}
