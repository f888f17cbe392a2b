package dev.millrace.bench.cli;

import dev.millrace.models.cli.DeviceOptions;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;

/** How every timing is taken. */
final class RepeatOptions {
    /** A hundred times more take minutes to lay out their caches, and then the process has no memory mappings left, which ends the JVM. */
    private static final int MOST_SEQUENCES = 4096;

    @Option(
            names = "-r",
            paramLabel = "N",
            converter = DeviceOptions.Positive.class,
            description = "Repeats after warming up; the median counts (default: ${DEFAULT-VALUE}).")
    private Integer repeats;

    @Option(
            names = {"-B", "--batch"},
            paramLabel = "B",
            converter = Sequences.class,
            description = "Sequences side by side, at most " + MOST_SEQUENCES + " (default: ${DEFAULT-VALUE}).")
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

    private static final class Sequences implements ITypeConverter<Integer> {
        @Override
        public Integer convert(String value) {
            return DeviceOptions.whole(value, 1, MOST_SEQUENCES);
        }
    }
}
