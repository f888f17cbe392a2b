package dev.millrace.bench.profile;

import dev.millrace.bench.measure.Roofline;
import dev.millrace.bench.measure.Roofline.Least;
import dev.millrace.bench.measure.Roofs;
import dev.millrace.bench.measure.Steady;
import dev.millrace.bench.measure.Workload;
import dev.millrace.bench.profile.StepRecorder.Event;
import dev.millrace.bench.profile.StepRecorder.Step;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.profile.OpCost;
import dev.millrace.core.profile.OpGroup;
import dev.millrace.core.profile.OpObserver;
import dev.millrace.models.Engine;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.function.DoubleSupplier;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;

/**
 * Times every op of a prefill and of a decode step. The step is timed in pairs, with nobody observing and
 * observed; both are given, so that what observing costs and what no op explains can be seen.
 */
public final class Profiler {
    /** Decode steps in a row that are profiled together. */
    public static final int DECODE_STEPS = 16;

    /** Short phases are timed more often than asked: until this long, as machines disturb each other for milliseconds. */
    private static final double LEAST_SECONDS = 3;

    private static final int MOST_PAIRS = 100;

    private final Engine engine;
    private final int batch;
    private final int repeats;
    private final BooleanSupplier stop;
    private final Roofs roofs;
    private final Roofline roofline;
    private final StepRecorder recorder = new StepRecorder();
    private final OpObserver observer = new JfrObserver(recorder);
    private final List<Step> traced = new ArrayList<>();

    /** @param roofs of the executor that runs the engine; the caller closes them */
    public Profiler(Engine engine, Roofs roofs, int batch, int repeats, BooleanSupplier stop) {
        this.engine = engine;
        this.batch = batch;
        this.repeats = repeats;
        this.stop = stop;
        this.roofs = roofs;
        this.roofline = new Roofline(engine.program().graph(), engine.weights(), roofs);
    }

    /** Reading a prompt of {@code tokens} in every sequence; null when stopped. */
    public Phase prefill(int tokens) {
        try (Workload load = load(tokens + 1)) {
            return phase("prefill", tokens, 0, 1, () -> load.prompt(tokens));
        }
    }

    /** A step that decodes one token at position {@code context} of every sequence; null when stopped. */
    public Phase decode(int context) {
        try (Workload load = load(context + DECODE_STEPS + 2)) {
            return phase("decode", 1, context, DECODE_STEPS, () -> load.decode(context, DECODE_STEPS));
        }
    }

    /** One observed step of each phase, for traces. */
    public List<Step> traced() {
        return traced;
    }

    private Phase phase(String name, int tokens, int context, int steps, DoubleSupplier timing) {
        OpCost.Step step = new OpCost.Step(batch, tokens, causal() ? 1 : tokens, context, engine.options().kv());
        OpCost whole = OpCost.of(engine.program().graph(), output(), engine.weights(), step);
        double before = roofs.read(whole.streamedBytes());
        List<Pair> pairs = new ArrayList<>();
        Steady.warmUp(stop, timing);
        Steady.warmUp(stop, () -> observed(timing));
        long start = System.nanoTime();
        for (int i = 0; (i < repeats || i < MOST_PAIRS && seconds(start) < LEAST_SECONDS) && !stop.getAsBoolean(); i++) {
            // which of the two comes first changes, as the machine may be getting faster or slower
            double first = i % 2 == 0 ? timing.getAsDouble() : 0;
            double observed = observed(timing);
            List<Step> all = recorder.steps();
            List<Step> seen = List.copyOf(all.subList(Math.max(0, all.size() - steps), all.size()));
            double plain = i % 2 == 0 ? first : timing.getAsDouble();
            pairs.add(new Pair(plain, observed, seen));
        }
        if (pairs.size() < repeats) {
            return null;
        }
        double read = Math.max(before, roofs.read(whole.streamedBytes()));
        traced.add(pairs.getLast().steps().getLast());
        List<Pair> kept = middle(pairs);
        double seconds = mean(kept, Pair::plain);
        List<OpRow> rows = rows(kept.stream().flatMap(p -> p.steps().stream()).toList(), step, read);
        double sum = rows.stream().mapToDouble(OpRow::us).sum();
        double stepUs = seconds * 1e6;
        Least least = roofline.of(output(), step, read);
        Double percent = Double.isNaN(least.seconds()) ? null : 100 * least.seconds() / seconds;
        Double readGbS = Double.isNaN(read) ? null : read / 1e9;
        return new Phase(
                name, tokens * batch, context, stepUs, mean(kept, Pair::observed) * 1e6, sum, stepUs - sum, readGbS, percent, rows);
    }

    private static double seconds(long start) {
        return (System.nanoTime() - start) * 1e-9;
    }

    /** A timing whose steps the recorder has afterwards. */
    private double observed(DoubleSupplier timing) {
        recorder.clear();
        engine.program().observe(observer);
        try {
            return timing.getAsDouble();
        } finally {
            engine.program().observe(null);
        }
    }

    /** Seconds a step with nobody observing, seconds a step observed right before or after, and the observed steps. */
    private record Pair(double plain, double observed, List<Step> steps) {}

    /**
     * The half of the pairs that agree best on what observing costs: in the others the machine changed its speed between
     * the two.
     */
    private static List<Pair> middle(List<Pair> pairs) {
        List<Pair> sorted = new ArrayList<>(pairs);
        sorted.sort(Comparator.comparingDouble(p -> p.observed() / p.plain()));
        int off = (pairs.size() + 1) / 4;
        return sorted.subList(off, pairs.size() - off);
    }

    private static double mean(List<Pair> pairs, ToDoubleFunction<Pair> seconds) {
        return pairs.stream().mapToDouble(seconds).average().orElseThrow();
    }

    /** For every node, its mean time: medians of single ops would add up to less than any step took. */
    private List<OpRow> rows(List<Step> observed, OpCost.Step step, double read) {
        Map<String, Node> nodes = new LinkedHashMap<>();
        Map<String, Double> times = new LinkedHashMap<>();
        for (Step each : observed) {
            events(each).forEach(event -> {
                nodes.put(event.name(), event.node());
                times.merge(event.name(), event.micros() / observed.size(), Double::sum);
            });
        }
        List<OpRow> rows = new ArrayList<>();
        times.forEach((path, us) -> rows.add(row(path, nodes.get(path), us, step, read)));
        rows.sort(Comparator.comparingDouble(OpRow::us).reversed());
        return rows;
    }

    private static Stream<Event> events(Step step) {
        return step.events().stream().filter(e -> e.node() != null || e.name().equals(OpObserver.SAMPLE));
    }

    private OpRow row(String path, Node node, double us, OpCost.Step step, double read) {
        if (node == null) {
            return new OpRow(path, "Sampler", group(OpGroup.SAMPLING), List.of(path), us, 0, 0, 0, 0, null, "latency");
        }
        OpCost cost = OpCost.of(node, engine.weights(), step);
        Least least = roofline.of(node, cost, read);
        boolean latency = !(least.seconds() > roofs.launch());
        return new OpRow(
                path,
                node.op().getClass().getSimpleName(),
                group(OpGroup.of(node.op())),
                node.covers(),
                us,
                cost.streamedBytes(),
                cost.flops(),
                us == 0 ? 0 : cost.streamedBytes() / us * 1e-3,
                us == 0 ? 0 : cost.flops() / us * 1e-3,
                latency || us == 0 ? null : 100 * least.seconds() * 1e6 / us,
                latency ? "latency" : least.bound().name());
    }

    private static String group(OpGroup group) {
        return group.name().toLowerCase(Locale.ROOT);
    }

    private boolean causal() {
        return engine.program().graph().causal();
    }

    private String output() {
        return causal() ? Graph.LOGITS : Graph.HIDDEN;
    }

    private Workload load(int capacity) {
        return new Workload(
                engine.program(), batch, capacity, engine.options().kv(), engine.model().config().vocab());
    }
}
