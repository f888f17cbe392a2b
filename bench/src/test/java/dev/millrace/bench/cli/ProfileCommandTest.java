package dev.millrace.bench.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.ExecutorProvider;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Probe;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.executor.Support;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import dev.millrace.models.cli.Main;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.foreign.MemorySegment;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class ProfileCommandTest {
    private static final String SLOWED = "layer.3.attn.o";
    private static final long PAUSE_NANOS = 30_000_000;

    @TempDir
    private Path services;

    @Test
    void aSlowedKernelIsTheFirstLineOfTheTable() throws IOException {
        String text = profile("-p", "3", "-n", "0", "--top", "3");
        List<String> lines = text.lines().map(String::strip).toList();
        List<String> first = lines.stream()
                .filter(line -> line.startsWith("path "))
                .map(header -> lines.get(lines.indexOf(header) + 1))
                .toList();
        assertThat(first).as(text).singleElement().asString().startsWith(SLOWED + " ");
    }

    @Test
    void theTableIsSortedByTimeAndItsSumAndRemainderMakeTheStep() throws IOException {
        for (JsonNode phase : JsonMapper.shared().readTree(profile("-p", "0", "-n", "4", "--format", "json")).get("phases")) {
            double sum = 0;
            double before = Double.MAX_VALUE;
            for (JsonNode op : phase.get("ops")) {
                assertThat(op.get("us").doubleValue()).isBetween(0.0, before);
                before = op.get("us").doubleValue();
                sum += before;
            }
            assertThat(phase.get("ops").get(0).get("path").stringValue()).isEqualTo(SLOWED);
            assertThat(phase.get("ops").get(0).get("us").doubleValue()).isGreaterThan(PAUSE_NANOS * 1e-3);
            assertThat(phase.get("sum_us").doubleValue()).isCloseTo(sum, within(1e-6 * sum));
            assertThat(phase.get("sum_us").doubleValue() + phase.get("remainder_us").doubleValue())
                    .isCloseTo(phase.get("step_us").doubleValue(), within(1e-6 * sum));
        }
    }

    @Test
    void aTraceHoldsOpsAndWorkersOnOneClockAndFlightRecorderSeesTheSameOps() throws IOException {
        Path trace = services.resolve("trace.json");
        Path flight = services.resolve("flight.jfr");
        try (Recording recording = new Recording()) {
            recording.enable("dev.millrace.Op");
            recording.start();
            StringWriter err = new StringWriter();
            String[] line = {
                "profile", "-e", "cpu-simd", "--threads", "2", "-p", "16", "-n", "4", "-r", "1", "--trace", trace.toString()
            };
            assertThat(Main.run(line, new PrintWriter(new StringWriter()), new PrintWriter(err))).as(err.toString()).isZero();
            recording.stop();
            recording.dump(flight);
        }
        JsonNode events = JsonMapper.shared().readTree(Files.readAllBytes(trace)).get("traceEvents");
        List<JsonNode> spans = events.valueStream().filter(e -> e.get("ph").stringValue().equals("X")).toList();
        Set<String> lanes = events.valueStream()
                .filter(e -> e.get("name").stringValue().equals("thread_name"))
                .map(e -> e.get("args").get("name").stringValue())
                .collect(Collectors.toSet());
        assertThat(lanes).contains("ops", "worker 0", "worker 1");
        assertThat(spans.stream().filter(e -> e.get("name").stringValue().equals("layer.0.mlp.up") && e.has("args")))
                .as("one of the prefill, one of the decode step").hasSize(2);
        assertThat(spans).allSatisfy(e -> {
            assertThat(e.get("ts").doubleValue()).isNotNegative();
            assertThat(e.get("dur").doubleValue()).isNotNegative();
        });
        List<RecordedEvent> recorded = RecordingFile.readAllEvents(flight);
        assertThat(recorded).anySatisfy(event -> {
            assertThat(event.getString("path")).isEqualTo("layer.0.mlp.up");
            assertThat(event.getString("group")).isEqualTo("MATMUL");
            assertThat(event.getDouble("micros")).isPositive();
        });
    }

    @ParameterizedTest
    @CsvSource({
        "2, nothing to profile, -p 0 -n 0",
        "1, the trace cannot be written to /nowhere/t.json, -p 1 -n 0 -r 1 --trace /nowhere/t.json"
    })
    void whatGivesNothingIsRefusedInOneLine(int exit, String says, String line) {
        StringWriter err = new StringWriter();
        String[] args = ("profile -e reference " + line).split(" ");
        assertThat(Main.run(args, new PrintWriter(new StringWriter()), new PrintWriter(err))).as(err.toString()).isEqualTo(exit);
        assertThat(err.toString().lines().filter(l -> l.startsWith("millrace: "))).singleElement().asString().contains(says);
    }

    private String profile(String... more) throws IOException {
        Path file = Files.createDirectories(services.resolve("META-INF/services")).resolve(ExecutorProvider.class.getName());
        Files.writeString(file, Provider.class.getName());
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        Thread thread = Thread.currentThread();
        ClassLoader own = thread.getContextClassLoader();
        try (URLClassLoader plugin = new URLClassLoader(new URL[] {services.toUri().toURL()}, own)) {
            thread.setContextClassLoader(plugin);
            String[] line = Stream.concat(
                            Stream.of("profile", "-e", "slowed", "-r", "5"),
                            Stream.of(more))
                    .toArray(String[]::new);
            int exit = Main.run(line, new PrintWriter(out), new PrintWriter(err));
            assertThat(exit).as(err.toString()).isZero();
        } finally {
            thread.setContextClassLoader(own);
        }
        return out.toString();
    }

    /** The reference executor, one of whose matrices takes its time whenever it is read. */
    public static final class Provider implements ExecutorProvider {
        @Override
        public String name() {
            return "slowed";
        }

        @Override
        public Probe probe() {
            return new Probe.Available(List.of(new Device(0, "slowed", 0, "one op pauses")));
        }

        @Override
        public int priority() {
            return 0;
        }

        @Override
        public Executor open(int device, ExecutorOptions options) {
            return new Slowed(Executors.named("reference").open());
        }
    }

    private record Slowed(Executor reference) implements Executor {
        @Override
        public String name() {
            return "slowed";
        }

        @Override
        public Device device() {
            return reference.device();
        }

        @Override
        public Support supports(Op op) {
            return reference.supports(op);
        }

        @Override
        public Set<WeightFormat> formats() {
            return reference.formats();
        }

        @Override
        public Program compile(Graph graph, Weights weights, CompileOptions options) {
            Weights slowed = weights.map((name, weight) -> name.equals(SLOWED + ".weight") ? new Pausing(weight) : weight);
            return reference.compile(graph, slowed, options);
        }

        @Override
        public RoofProbe roofs() {
            return reference.roofs();
        }

        @Override
        public void close() {
            reference.close();
        }
    }

    private record Pausing(Weight weight) implements Weight {
        @Override
        public String name() {
            return weight.name();
        }

        @Override
        public Shape shape() {
            return weight.shape();
        }

        @Override
        public WeightFormat format() {
            return weight.format();
        }

        @Override
        public void copyRows(long from, long count, MemorySegment target) {
            weight.copyRows(from, count, target);
        }

        @Override
        public void decodeRows(long from, long count, float[] target, int offset) {
            if (from == 0) {
                long until = System.nanoTime() + PAUSE_NANOS;
                while (System.nanoTime() < until) {
                    Thread.onSpinWait();
                }
            }
            weight.decodeRows(from, count, target, offset);
        }
    }
}
