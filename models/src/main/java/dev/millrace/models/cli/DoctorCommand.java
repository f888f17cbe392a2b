package dev.millrace.models.cli;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Executors.Found;
import dev.millrace.core.executor.Probe;
import dev.millrace.models.CacheDirectory;
import dev.millrace.models.Model;
import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** {@code doctor}: what will run on this machine, and what to fix. */
@Command(
        name = "doctor",
        description = "Looks at Java, vectors, devices, memory, plugins and files: what will run and what to fix."
                + " Exit code 1 when something is wrong.")
final class DoctorCommand extends CliCommand {
    private static final int OLDEST_JAVA = 25;
    private static final long LEAST_MEMORY = 1L << 30;
    private static final long LEAST_DISK = 64L << 20;

    @Mixin
    private OutputOptions output;

    /**
     * One finding.
     *
     * @param ok whether it is as it should be
     * @param found what was found
     * @param fix what to do; null where nothing is
     */
    private record Finding(String what, boolean ok, String found, String fix) {
        static Finding good(String what, String found) {
            return new Finding(what, true, found, null);
        }

        static Finding bad(String what, String found, String fix) {
            return new Finding(what, false, found, fix);
        }
    }

    @Override
    protected int run() {
        List<Finding> findings = new ArrayList<>();
        findings.add(java());
        findings.add(vectors());
        findings.add(nativeAccess());
        findings.addAll(executors());
        findings.add(memory());
        findings.add(plugins());
        findings.add(cache());
        findings.add(embedded());
        if (output.json()) {
            OutputOptions.print(out(), findings);
        } else {
            findings.forEach(f -> out().println(String.format(Locale.ROOT, "%-5s %-22s %s%s",
                    f.ok() ? "ok" : "WRONG", f.what(), f.found(), f.fix() == null ? "" : " -> " + f.fix())));
        }
        return findings.stream().allMatch(Finding::ok) ? 0 : 1;
    }

    private static Finding java() {
        String found = Runtime.version() + ", " + System.getProperty("java.vm.name") + ", " + System.getProperty("java.home");
        return Runtime.version().feature() >= OLDEST_JAVA
                ? Finding.good("java", found)
                : Finding.bad("java", found, "install a JDK " + OLDEST_JAVA + " and set JAVA_HOME to it");
    }

    private static Finding vectors() {
        boolean there = ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
        return there
                ? Finding.good("vector module", "jdk.incubator.vector is there")
                : Finding.bad("vector module", "not there", "start Java with --add-modules=jdk.incubator.vector");
    }

    private static Finding nativeAccess() {
        return DoctorCommand.class.getModule().isNativeAccessEnabled()
                ? Finding.good("native access", "enabled")
                : Finding.bad("native access", "not enabled", "start Java with --enable-native-access=ALL-UNNAMED");
    }

    /** No GPU is no fault; a GPU that cannot be used is one. */
    private static List<Finding> executors() {
        List<Finding> findings = new ArrayList<>();
        boolean fast = false;
        for (Found found : Executors.discover()) {
            String what = "executor " + found.name();
            switch (found.probe()) {
                case Probe.Available(var devices) -> {
                    fast |= found.provider().priority() > 0;
                    devices.forEach(d -> findings.add(Finding.good(what, d.index() + ": " + d.name() + ", " + d.detail())));
                }
                case Probe.Unavailable(String reason) -> {
                    boolean wrong = found.provider() == null || Files.exists(Path.of("/dev/nvidiactl"));
                    findings.add(wrong
                            ? Finding.bad(what, reason, "see the reason; without it, runs use the next best executor")
                            : Finding.good(what, "not here: " + reason));
                }
            }
        }
        if (!fast) {
            findings.add(Finding.bad("executors", "none but the reference can run", "see the reasons above"));
        }
        return findings;
    }

    private static Finding memory() {
        long total = ManagementFactory.getPlatformMXBean(com.sun.management.OperatingSystemMXBean.class).getTotalMemorySize();
        long free = availableMemory();
        String found = String.format(Locale.ROOT, "%.1f GiB, %.1f GiB of it available; %d processors; Java heap up to %.1f GiB",
                gib(total), gib(free), Runtime.getRuntime().availableProcessors(), gib(Runtime.getRuntime().maxMemory()));
        return free >= LEAST_MEMORY
                ? Finding.good("memory", found)
                : Finding.bad("memory", found, "free some memory: even a small model needs 1 GiB");
    }

    private static double gib(long bytes) {
        return bytes / (double) (1L << 30);
    }

    /** What the kernel says can be had without swapping; all of it where it does not say. */
    private static long availableMemory() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/meminfo"))) {
            return lines.filter(line -> line.startsWith("MemAvailable:"))
                    .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) << 10)
                    .findFirst()
                    .orElse(Long.MAX_VALUE);
        } catch (IOException e) {
            return ManagementFactory.getPlatformMXBean(com.sun.management.OperatingSystemMXBean.class).getFreeMemorySize();
        }
    }

    private static Finding plugins() {
        List<Path> folders = new ArrayList<>();
        String home = System.getProperty("millrace.home");
        if (home != null) {
            folders.add(Path.of(home, "plugins"));
        }
        String more = System.getenv("MILLRACE_PLUGINS");
        if (more != null) {
            Arrays.stream(more.split(File.pathSeparator)).filter(s -> !s.isEmpty()).map(Path::of).forEach(folders::add);
        }
        List<Path> missing = folders.stream().filter(folder -> !Files.isDirectory(folder)).toList();
        if (!missing.isEmpty() && more != null) {
            return Finding.bad("plugins", "no folder " + missing, "correct MILLRACE_PLUGINS");
        }
        String jars = folders.stream().flatMap(DoctorCommand::jars).collect(Collectors.joining(", "));
        return Finding.good("plugins", folders.isEmpty()
                ? "no plugin folder: not started by the launcher"
                : (jars.isEmpty() ? "none" : jars) + " in " + folders);
    }

    private static Stream<String> jars(Path folder) {
        String[] names = folder.toFile().list((parent, name) -> name.endsWith(".jar"));
        return names == null ? Stream.empty() : Arrays.stream(names).sorted();
    }

    private static Finding cache() {
        Path cache = CacheDirectory.path();
        String fix = "set MILLRACE_CACHE to a folder that can be written";
        try {
            Files.createDirectories(cache);
            Path probe = Files.createTempFile(cache, "doctor", null);
            Files.delete(probe);
            long free = Files.getFileStore(cache).getUsableSpace();
            String found = String.format(Locale.ROOT, "%s, %.1f GiB free", cache, gib(free));
            return free >= LEAST_DISK ? Finding.good("cache", found) : Finding.bad("cache", found, "free some disk space");
        } catch (IOException e) {
            return Finding.bad("cache", cache + " cannot be written: " + e, fix);
        }
    }

    private static Finding embedded() {
        try (Model model = Model.embedded()) {
            int tokens = model.tokenizer().encode("Once upon a time", false).length;
            return Finding.good("embedded model", model.name() + ", its tokenizer makes " + tokens + " tokens of four words");
        } catch (MillraceException e) {
            return Finding.bad("embedded model", e.getMessage(), "install Millrace again");
        }
    }
}
