package dev.millrace.bench.jmh;

import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Executors.Found;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Runs this package's benchmarks on every executor that the class path offers. Takes JMH's own command line; without
 * {@code -p executor=} every available executor but the reference takes part.
 */
public final class Suite {
    private static final String EXECUTOR = "executor=";

    private Suite() {}

    /** @param args words of JMH's command line, one or several an argument */
    public static void main(String[] args) throws IOException {
        org.openjdk.jmh.Main.main(onEveryExecutor(args));
    }

    static String[] onEveryExecutor(String... args) {
        List<String> words = Arrays.stream(args)
                .flatMap(arg -> Arrays.stream(arg.split("\\s+")))
                .filter(word -> !word.isEmpty())
                .collect(Collectors.toCollection(ArrayList::new));
        if (words.stream().noneMatch(word -> word.startsWith(EXECUTOR))) {
            String available = Executors.discover().stream()
                    .filter(found -> found.available() && found.provider().priority() > 0)
                    .map(Found::name)
                    .collect(Collectors.joining(","));
            words.add("-p");
            words.add(EXECUTOR + available);
        }
        return words.toArray(String[]::new);
    }
}
