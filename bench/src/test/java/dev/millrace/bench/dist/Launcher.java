package dev.millrace.bench.dist;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Runs the launcher script of a distribution as a user would. */
record Launcher(int exit, String out, String err) {
    static final Path DIST = Path.of("target", "millrace", "millrace").toAbsolutePath();

    static ProcessBuilder command(Path home, Map<String, String> environment, String... args) {
        List<String> command = new ArrayList<>(List.of(home.resolve("bin/millrace").toString()));
        command.addAll(List.of(args));
        ProcessBuilder builder = new ProcessBuilder(command);
        // as on a fresh machine: nothing of this build's own environment leads to a JDK
        builder.environment().keySet().removeAll(List.of("JAVA_HOME", "MILLRACE_OPTS", "MILLRACE_PLUGINS"));
        builder.environment().putAll(environment);
        return builder;
    }

    static Launcher run(Path home, Map<String, String> environment, String... args) {
        try {
            Path err = Files.createTempFile("millrace", ".err");
            Process process = command(home, environment, args).redirectError(err.toFile()).start();
            process.getOutputStream().close();
            String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            if (!process.waitFor(120, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                throw new AssertionError("millrace " + List.of(args) + " did not end");
            }
            String errors = Files.readString(err);
            Files.delete(err);
            return new Launcher(process.exitValue(), out, errors);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    static Launcher run(String... args) {
        return run(DIST, Map.of(), args);
    }

    /** Standard error without what the JVM says of incubator modules, which has no switch. */
    String said() {
        return String.join("\n", err.lines().filter(line -> !line.contains("Using incubator modules")).toList());
    }
}
