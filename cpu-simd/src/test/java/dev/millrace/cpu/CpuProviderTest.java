package dev.millrace.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Probe;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.executor.RoofProbe.Kind;
import dev.millrace.core.executor.Session;
import dev.millrace.core.kit.GraphOf;
import dev.millrace.core.kit.KitModels;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.core.tensor.WeightFormat;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CpuProviderTest {
    /** Run in a JVM of its own. */
    public static final class Show {
        public static void main(String[] args) {
            for (Executors.Found found : Executors.discover()) {
                System.out.println(found.name() + ": " + found.probe());
            }
            if (args.length > 0) {
                for (int i = 0; i < 2; i++) {
                    Executors.named("cpu-simd").provider().open(0, ExecutorOptions.DEFAULT).close();
                }
            }
        }
    }

    /**
     * Decodes until a second after the words of the first argument were said, a minute at most, or reads prompts of as many
     * tokens as the second says; run in a JVM of its own.
     */
    public static final class Decode {
        public static void main(String[] args) {
            int prompt = args.length > 1 ? Integer.parseInt(args[1]) : 1;
            ByteArrayOutputStream said = new ByteArrayOutputStream();
            PrintStream err = System.err;
            System.setErr(new PrintStream(said, true));
            try (Executor executor = new CpuProvider().open(0, ExecutorOptions.DEFAULT)) {
                GraphOf.Built built = KitModels.fused(KitModels.gpt(WeightFormat.F32), executor);
                try (Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
                        Session session = program.newSession(100, KvFormat.F32)) {
                    boolean over = false;
                    for (long end = System.nanoTime() + 60_000_000_000L; System.nanoTime() < end; ) {
                        session.decode(new int[prompt], Sampling.GREEDY, prompt == 1 ? 99 : 1, token -> true);
                        session.truncate(0);
                        if (!over && said.toString().contains(args[0])) {
                            over = true;
                            end = System.nanoTime() + 1_000_000_000L;
                        }
                    }
                }
            } finally {
                System.setErr(err);
                err.print(said);
            }
        }
    }

    private static String run(List<String> options, String... args) throws IOException, InterruptedException {
        return run(Show.class, options, args);
    }

    private static String run(Class<?> main, List<String> options, String... args)
            throws IOException, InterruptedException {
        return run(main, Map.of(), options, args);
    }

    private static String run(Class<?> main, Map<String, String> environment, List<String> options, String... args)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(options);
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(List.of(args));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().putAll(environment);
        Process process = builder.start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(output).isZero();
        return output;
    }

    @Test
    void isListedAsAvailableWithWidthAndWorkers() {
        Executors.Found found = Executors.named("cpu-simd");
        assertThat(found.provider().priority()).isEqualTo(100);
        assertThat(found.probe()).isInstanceOfSatisfying(Probe.Available.class, available -> {
            assertThat(available.devices()).hasSize(1);
            assertThat(available.devices().getFirst().detail()).matches("(128|256|512)-bit vectors, \\d+ workers");
        });
    }

    @Test
    void withoutTheModuleItSaysWhichFlagToAdd() throws Exception {
        assertThat(run(List.of()))
                .contains("cpu-simd: Unavailable")
                .contains("--add-modules=jdk.incubator.vector")
                .doesNotContain("NoClassDefFoundError");
    }

    @Test
    void aWidthThatIsNoneIsAReasonNotACrash() throws Exception {
        assertThat(run(List.of("--add-modules=jdk.incubator.vector", "-D" + Lanes.PROPERTY + "=100")))
                .contains("cpu-simd: Unavailable")
                .contains("must be 128, 256 or 512");
    }

    @Test
    void runningWithoutTheOptimizingCompilerIsSaidOnce() throws Exception {
        String said = run(
                List.of(
                        "--add-modules=jdk.incubator.vector",
                        "--enable-native-access=ALL-UNNAMED",
                        "-XX:TieredStopAtLevel=1"),
                "open");
        assertThat(said.split("optimizing compiler is off", -1)).as(said).hasSize(2);
        assertThat(PerformanceCliff.compilerMissing("interpreted mode, sharing")).contains("-Xint");
        assertThat(PerformanceCliff.compilerMissing("mixed mode, sharing")).isNull();
    }

    @ParameterizedTest
    @ValueSource(strings = {"1", "60"})
    @DisabledIfSystemProperty(named = Lanes.PROPERTY, matches = ".+", disabledReason = "the JVM it starts is the same again")
    void vectorsThatStayObjectsAreSaidOnce(String prompt) throws Exception {
        String objects = prompt.equals("1") ? "bytes a token: the JVM keeps" : "bytes a piece of a prompt: the JVM keeps";
        String said = run(
                Decode.class,
                Map.of("JAVA_TOOL_OPTIONS", "-XX:-Inline"), // where nobody looks for options
                List.of(
                        "--add-modules=jdk.incubator.vector",
                        "--enable-native-access=ALL-UNNAMED",
                        "-Dmillrace.cpu.coldstart=false"),
                objects,
                prompt);
        assertThat(said.split(objects, -1)).as(said).hasSize(2);
    }

    @Test
    void anOptionThatKeepsVectorsAsObjectsIsSaidBeforeAnythingRuns() throws Exception {
        String said = run(
                List.of("--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-XX:-Inline"), "open");
        assertThat(said.split("with -XX:-Inline the JVM keeps vectors as objects", -1)).as(said).hasSize(2);
        assertThat(PerformanceCliff.boxing(List.of("java", "-XX:+Inline", "-XX:-InlineNotify"))).isNull();
    }

    @Test
    void vectorsNarrowerThanTheProcessorsAreSaidWhoeverNarrowedThem() throws Exception {
        String flags = "fpu avx avx2 avx512f avx512dq avx512cd avx512bw avx512vl";
        assertThat(Machine.vectorBits(flags)).isEqualTo(512);
        assertThat(Machine.vectorBits("fpu avx avx2 avx512f")).isEqualTo(256);
        assertThat(Machine.vectorBits("")).isZero();
        assertThat(PerformanceCliff.narrow(128, 512, 512)).contains(Lanes.PROPERTY);
        assertThat(PerformanceCliff.narrow(256, 256, 512)).contains("-XX:UseAVX=3");
        assertThat(PerformanceCliff.narrow(128, 128, 256)).contains("-XX:MaxVectorSize");
        assertThat(PerformanceCliff.narrow(256, 256, 256)).isNull();
        assertThat(PerformanceCliff.narrow(128, 128, 0)).isNull();
        if (Machine.vectorBits() > 128) {
            String said = run(
                    List.of(
                            "--add-modules=jdk.incubator.vector",
                            "--enable-native-access=ALL-UNNAMED",
                            "-XX:MaxVectorSize=16"),
                    "open");
            assertThat(said.split("as the JVM offers them", -1)).as(said).hasSize(2);
        }
    }

    @Test
    @DisabledIfSystemProperty(named = Lanes.PROPERTY, matches = ".+", disabledReason = "the JVM it starts is the same again")
    void kernelsThatStayUncompiledAreSaidThoughPlainLoopsStandInForThem() throws Exception {
        String slow = "kernels are not fast";
        String said = run(
                Decode.class,
                List.of(
                        "--add-modules=jdk.incubator.vector",
                        "--enable-native-access=ALL-UNNAMED",
                        "-Dmillrace.cpu.coldstart=true",
                        "-XX:TieredStopAtLevel=3"),
                slow);
        assertThat(said.split(slow, -1)).as(said).hasSize(2);
    }

    @Test
    void optionsItCannotHonourAreRefused() {
        CpuProvider provider = new CpuProvider();
        assertThatThrownBy(() -> provider.open(1, ExecutorOptions.DEFAULT)).isInstanceOf(MillraceException.class);
        ExecutorOptions tf32 = new ExecutorOptions(0, ExecutorOptions.Math.TF32);
        assertThatThrownBy(() -> provider.open(0, tf32)).hasMessageContaining("TF32");
        ExecutorOptions crowd = new ExecutorOptions(1025, ExecutorOptions.Math.F32);
        assertThatThrownBy(() -> provider.open(0, crowd))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("at most 1024");
    }

    @Test
    void roofsAreMeasuredAndStandInTheOrderThatHardwareHas() {
        try (Executor executor = new CpuProvider().open(0, new ExecutorOptions(2, ExecutorOptions.Math.F32));
                RoofProbe roofs = executor.roofs()) {
            assertThat(executor.threads()).isEqualTo(2);
            for (Kind kind : roofs.kinds()) {
                RoofProbe.Sample sample = roofs.measure(kind, 0, 1 << 20, 40);
                assertThat(sample.min()).as(kind.name()).isPositive().isLessThanOrEqualTo(sample.median());
                assertThat(sample.max()).as(kind.name()).isGreaterThanOrEqualTo(sample.median()).isFinite();
            }
            // even a loaded machine adds from registers faster than it streams from memory: bytes against operations
            double fma = roofs.measure(Kind.FMA_F32, 1, 0, 150).max();
            double far = roofs.measure(Kind.READ, 1, 1L << 28, 150).max();
            double near = roofs.measure(Kind.READ, 1, 1L << 14, 150).max();
            assertThat(fma).isGreaterThan(far);
            assertThat(near).isGreaterThan(far);
            assertThatThrownBy(() -> roofs.measure(Kind.MATRIX_F16, 0, 0, 1)).isInstanceOf(MillraceException.class);
        }
    }
}
