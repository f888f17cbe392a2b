package dev.millrace.bench.cli;

import dev.millrace.models.cli.DeviceOptions;
import picocli.CommandLine.Option;

/** How every timing is taken. */
final class RepeatOptions {
    @Option(
            names = "-r",
            paramLabel = "N",
            converter = DeviceOptions.Positive.class,
            description = "Repeats after warming up; the median counts (default: ${DEFAULT-VALUE}).")
    private Integer repeats;

    @Option(
            names = {"-B", "--batch"},
            paramLabel = "B",
            converter = DeviceOptions.Positive.class,
            description = "Sequences side by side (default: ${DEFAULT-VALUE}).")
    private Integer batch = 1;

    RepeatOptions(int repeats) {
        this.repeats = repeats;
    }

    int repeats() {
        return repeats;
    }

    int batch() {
        return batch;
    }
}
