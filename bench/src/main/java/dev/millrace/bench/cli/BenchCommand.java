package dev.millrace.bench.cli;

import dev.millrace.bench.measure.Bench;
import dev.millrace.bench.measure.BenchRow;
import dev.millrace.core.MillraceException;
import dev.millrace.models.Model;
import dev.millrace.models.cli.CliCommand;
import dev.millrace.models.cli.DeviceOptions;
import dev.millrace.models.cli.Interrupt;
import dev.millrace.models.cli.UsageException;
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

    @Option(
            names = "-p",
            paramLabel = "TOKENS",
            converter = Counts.Converter.class,
            description = "Prompt lengths to read: 512, or 16,512, or 128-512+128, or 16-1024*2; 0 for none (default: 512).")
    private Counts prompts = Counts.of(512);

    @Option(
            names = "-n",
            paramLabel = "TOKENS",
            converter = Counts.Converter.class,
            description = "Numbers of tokens to decode, written likewise; 0 for none (default: 128).")
    private Counts decodes;

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

    @Option(
            names = "-r",
            paramLabel = "N",
            converter = DeviceOptions.Positive.class,
            description = "Repeats after warming up; the median counts (default: 5).")
    private Integer repeats = 5;

    @Option(
            names = {"-B", "--batch"},
            paramLabel = "B",
            converter = DeviceOptions.Positive.class,
            description = "Sequences side by side (default: 1).")
    private Integer batch = 1;

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
            if (decodes == null) {
                decodes = Counts.of(model.config().encoder() ? 0 : 128);
            }
            sweep.each(model, this::say, (engine, executor) -> {
                var setting = new Bench.Setting(model.name(), batch, repeats, Interrupt::requested);
                try (Bench bench = new Bench(engine, executor, setting)) {
                    rows(writer, prompts, logits == Logits.all ? bench::logits : bench::prompt);
                    for (int depth : depths.values()) {
                        rows(writer, decodes, n -> bench.decode(depth, n));
                    }
                    rows(writer, sequences, n -> bench.sequence(n, true));
                    rows(writer, sequences, n -> bench.sequence(n, false));
                }
            });
            if (Interrupt.requested()) {
                say("interrupted: " + writer.rows().size() + " rows were finished");
            }
            if (writer.rows().isEmpty()) {
                throw new MillraceException("nothing was measured: -p, -n and --sequence are all 0");
            }
        }
        return 0;
    }

    private void rows(RowWriter writer, Counts counts, IntFunction<BenchRow> test) {
        for (int n : counts.values()) {
            if (n > 0 && !Interrupt.requested()) {
                BenchRow row = test.apply(n);
                if (row != null) {
                    writer.write(row);
                }
            }
        }
    }
}
