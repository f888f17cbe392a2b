package dev.millrace.cpu;

import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/** What is known of the machine without measuring: from /proc where there is one. */
final class Machine {
    private Machine() {}

    /** The processor's name. */
    static String processor() {
        return field(lines("/proc/cpuinfo"), "model name", System.getProperty("os.arch"));
    }

    /** Bits of the widest vectors that this processor has and C2 has instructions for; 0 when unknown. */
    static int vectorBits() {
        return vectorBits(field(lines("/proc/cpuinfo"), "flags", ""));
    }

    /** The same from the flags of an x86 processor, parted by blanks. */
    static int vectorBits(String flags) {
        Set<String> has = new HashSet<>(List.of(flags.split(" +")));
        if (has.containsAll(List.of("avx512f", "avx512cd", "avx512dq", "avx512bw", "avx512vl"))) {
            return 512;
        }
        return has.contains("avx2") ? 256 : 0;
    }

    /** This process's command line, word by word; empty when unknown. The JVM's own beans would take 20 ms of a start. */
    static List<String> commandLine() {
        return lines("/proc/self/cmdline").stream().flatMap(line -> Stream.of(line.split("\0"))).toList();
    }

    /** Memory in all; 0 when unknown. */
    static long memoryBytes() {
        return kibibytes("MemTotal");
    }

    /** Memory that can be taken without swapping; {@link Long#MAX_VALUE} when unknown. */
    static long availableBytes() {
        long bytes = kibibytes("MemAvailable");
        return bytes == 0 ? Long.MAX_VALUE : bytes;
    }

    /**
     * Checks that {@code bytes} are there to be taken.
     *
     * @throws MillraceException when they are not
     */
    static void requireMemory(String what, long bytes, String instead) {
        long available = availableBytes();
        if (bytes > available) {
            throw new MillraceException("no memory for " + what + ": " + bytes + " bytes needed, " + available
                    + " available; use " + instead);
        }
    }

    /** Cores this process may use: two hardware threads of one core count once. */
    static int cores() {
        int processors = Runtime.getRuntime().availableProcessors();
        Set<String> cores = new HashSet<>();
        String socket = "";
        for (String line : lines("/proc/cpuinfo")) {
            if (line.startsWith("physical id")) {
                socket = line;
            } else if (line.startsWith("core id")) {
                cores.add(socket + line);
            }
        }
        return cores.isEmpty() ? processors : Math.min(processors, cores.size());
    }

    private static long kibibytes(String name) {
        String value = field(lines("/proc/meminfo"), name, "0").split(" ")[0];
        return Long.parseLong(value) * 1024;
    }

    private static String field(List<String> lines, String name, String otherwise) {
        return lines.stream()
                .filter(line -> line.startsWith(name))
                .map(line -> line.substring(line.indexOf(':') + 1).strip())
                .findFirst()
                .orElse(otherwise);
    }

    private static List<String> lines(String file) {
        Path path = Path.of(file);
        if (!Files.isReadable(path)) {
            return List.of();
        }
        try (Stream<String> lines = Files.lines(path)) {
            return lines.toList();
        } catch (IOException e) {
            return List.of(); // not every system has it; what depends on it says "unknown"
        }
    }
}
