package dev.millrace.cpu;

import java.lang.System.Logger.Level;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** Reasons why kernels run far below the machine's speed. Each is said once for each run, on the log. */
enum PerformanceCliff {
    /** Vectors are narrower than the machine's. */
    NARROW_VECTORS,
    /** Without the optimizing compiler every vector is an object and every lane a loop. */
    NO_OPTIMIZING_COMPILER,
    /** Kernels were run for seconds and are not compiled, or not well. */
    SLOW_KERNELS,
    /** The compiler keeps vectors as objects: an option says so, or steps allocate. */
    BOXED_VECTORS,
    /** More workers than cores: they wait for each other at every barrier. */
    TOO_MANY_WORKERS;

    private static final System.Logger LOG = System.getLogger("dev.millrace.cpu");
    /** Options that a short run would not show to be slow before it is over. */
    private static final Set<String> BOXING = Set.of("-XX:-Inline", "-XX:-EnableVectorSupport");

    private static final Set<PerformanceCliff> SAID = EnumSet.noneOf(PerformanceCliff.class);

    /** Looks for every cliff that can be seen without measuring. */
    static void check(int workers, int cores) {
        String narrow = narrow(Lanes.BITS, Lanes.PREFERRED_BITS, Machine.vectorBits());
        if (narrow != null) {
            NARROW_VECTORS.say(narrow);
        }
        String option = boxing(Machine.commandLine());
        if (option != null) {
            BOXED_VECTORS.say("cpu-simd runs many times slower than it could: with " + option
                    + " the JVM keeps vectors as objects; leave it out");
        }
        String reason = compilerMissing(System.getProperty("java.vm.info", ""));
        if (reason != null) {
            NO_OPTIMIZING_COMPILER.say("cpu-simd runs 10 to 1000 times slower than it could: " + reason);
        }
        if (workers > cores) {
            TOO_MANY_WORKERS.say(
                    workers + " workers on " + cores + " cores wait for each other: use --threads " + cores);
        }
    }

    /**
     * What to do about vectors that are narrower than they could be; null when they are not.
     *
     * @param used bits that kernels use
     * @param offered bits that the JVM prefers
     * @param processor bits that the processor has; 0 when unknown
     */
    static String narrow(int used, int offered, int processor) {
        if (used < offered) {
            return "cpu-simd uses " + used + "-bit vectors, the machine has " + offered + "-bit ones: leave out -D"
                    + Lanes.PROPERTY;
        }
        if (used < processor) {
            return "cpu-simd uses " + used + "-bit vectors, as the JVM offers them, the processor has " + processor
                    + "-bit ones: leave out -XX:UseAVX and -XX:MaxVectorSize"
                    + (processor == 512 ? ", or give -XX:UseAVX=3" : "");
        }
        return null;
    }

    /** The one of the JVM's options that keeps vectors as objects; null when there is none. */
    static String boxing(List<String> commandLine) {
        return commandLine.stream().filter(BOXING::contains).findFirst().orElse(null);
    }

    /** Why C2 does not run, from what the JVM says of itself; null when it does. */
    static String compilerMissing(String info) {
        if (info.contains("interpreted")) {
            return "the JVM only interprets: leave out -Xint";
        }
        if (info.contains("emulated-client")) {
            return "the JVM's optimizing compiler is off: leave out -XX:TieredStopAtLevel";
        }
        return null;
    }

    /** Says it, unless it was said before. */
    void say(String message) {
        synchronized (SAID) {
            if (SAID.add(this)) {
                LOG.log(Level.WARNING, message);
            }
        }
    }
}
