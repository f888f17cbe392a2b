package dev.millrace.bench.measure;

import dev.millrace.bench.measure.Roofline.Least;
import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Counters;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Program;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.profile.OpCost;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.models.Engine;
import java.util.Arrays;
import java.util.Locale;
import java.util.function.BooleanSupplier;
import java.util.function.DoubleSupplier;

/** Measures one engine, each figure beside its roof. */
public final class Bench {
    /** A figure this far above its roof is noise of the roof; further is an error. */
    private static final double SLACK = 1.03;

    private static final int TRIES = 4;
    /** A prompt to decode from, as short as a chat's; the cache it leaves is counted. */
    public static final int CONTEXT = 8;

    private final Engine engine;
    private final Executor executor;
    private final Setting setting;
    private final Roofs roofs;
    private final Roofline roofline;

    /**
     * @param stop asked between timings; a test that was stopped gives no row
     */
    public record Setting(String model, int batch, int repeats, BooleanSupplier stop) {}

    /** @param roofs of the executor; the caller closes them */
    public Bench(Engine engine, Executor executor, Roofs roofs, Setting setting) {
        this.engine = engine;
        this.executor = executor;
        this.setting = setting;
        this.roofs = roofs;
        this.roofline = new Roofline(engine.program().graph(), engine.weights(), roofs);
    }

    /** Reading a prompt of {@code tokens} and giving out the first new token; null when stopped. */
    public BenchRow prompt(int tokens) {
        OpCost.Step step = step(tokens, 1, 0);
        try (Workload load = load(tokens)) {
            return row(
                    "pp" + tokens, Math.multiplyExact(tokens, setting.batch()), 1, step, Shape.PROMPT, () -> load.prompt(tokens));
        }
    }

    /** Computing the logits of every token of a prompt, which stay on the device; null when stopped. */
    public BenchRow logits(int tokens) {
        requireDecoder("gives no logits of tokens; use --logits last");
        OpCost.Step step = step(tokens, tokens, 0);
        int all = Math.multiplyExact(tokens, setting.batch());
        try (Workload load = load(tokens)) {
            return row("pp" + tokens + "-logits", all, 1, step, Shape.LOGITS, () -> load.logits(tokens));
        }
    }

    /** Decoding {@code tokens} after a short prompt; null when stopped. */
    public BenchRow decode(int tokens) {
        return decode(CONTEXT, tokens);
    }

    /** Decoding {@code tokens} after a prompt of {@code depth}; null when stopped. */
    public BenchRow decode(int depth, int tokens) {
        requireDecoder("generates no tokens; use -n 0");
        OpCost.Step step = step(1, 1, depth + tokens / 2);
        String test = "tg" + tokens + (depth == CONTEXT ? "" : "@d" + depth);
        try (Workload load = load(depth + tokens)) {
            return row(test, setting.batch(), tokens, step, Shape.DECODE, () -> load.decode(depth, tokens));
        }
    }

    private void requireDecoder(String otherwise) {
        if (!engine.program().graph().causal()) {
            throw new MillraceException(setting.model() + " is an encoder and " + otherwise);
        }
    }

    /** Growing one sequence from 8 to {@code length} tokens; null when stopped. */
    public BenchRow sequence(int length, boolean cache) {
        if (!engine.program().graph().causal() || setting.batch() != 1 || length <= CONTEXT) {
            throw new MillraceException(
                    "sequences are measured of decoders, longer than " + CONTEXT + " tokens, with --batch 1");
        }
        OpCost.Step step = cache ? step(1, 1, length / 2) : step(length / 2, 1, 0);
        int n = length - CONTEXT;
        try (Workload load = load(length)) {
            String test = "seq" + length + (cache ? "" : "-nocache");
            return row(test, 1, n, step, Shape.SEQUENCE, () -> load.sequence(CONTEXT, length, cache) / n);
        }
    }

    /** The format that most bytes of the engine's linear layers are in. */
    public static WeightFormat mainFormat(Engine engine) {
        return Roofline.mainFormat(engine.program().graph(), engine.weights());
    }

    private enum Shape {
        PROMPT,
        LOGITS,
        DECODE,
        SEQUENCE
    }

    /**
     * @param tokens that one step gives
     * @param steps that one timing runs
     */
    private BenchRow row(String test, int tokens, int steps, OpCost.Step step, Shape shape, DoubleSupplier timing) {
        Program program = engine.program();
        String output = program.graph().causal() ? Graph.LOGITS : Graph.HIDDEN;
        OpCost cost = OpCost.of(program.graph(), output, engine.weights(), step);
        Counters[] last = new Counters[1];
        DoubleSupplier counted = () -> {
            Counters before = program.counters();
            double seconds = timing.getAsDouble();
            last[0] = program.counters().minus(before);
            return seconds;
        };
        double read = Double.NaN;
        for (int attempt = 1; ; attempt++) {
            double before = roofs.read(cost.streamedBytes());
            double[] seconds = Steady.seconds(setting.repeats(), setting.stop(), counted);
            if (seconds.length < setting.repeats()) {
                return null;
            }
            read = Math.max(before, roofs.read(cost.streamedBytes()));
            Least least = roofline.of(output, step, read);
            Stats time = Stats.of(seconds);
            if (!(least.seconds() > time.median() * SLACK)) {
                return row(test, tokens, steps, cost, shape, time, seconds, read, least, last[0]);
            }
            if (attempt < TRIES) {
                roofs.raise();
                continue;
            }
            throw new AboveRoofException(test, executor.name(), time.median() * 1e3, least.seconds() * 1e3);
        }
    }

    private BenchRow row(
            String test, int tokens, int steps, OpCost cost, Shape shape, Stats time, double[] seconds, double read,
            Least least, Counters counters) {
        Stats rate = Stats.of(Arrays.stream(seconds).map(s -> tokens / s).toArray());
        boolean measured = !Double.isNaN(least.seconds());
        return new BenchRow(
                setting.model(),
                roofline.mainFormat().label(),
                executor.name(),
                executor.device().name(),
                executor.threads(),
                executor.math().name().toLowerCase(Locale.ROOT),
                engine.options().kv().name().toLowerCase(Locale.ROOT),
                setting.batch(),
                test,
                tokens / time.median(),
                rate.stddev(),
                cost.streamedBytes() / tokens,
                cost.streamedBytes() / time.median() / 1e9,
                Double.isNaN(read) ? null : read / 1e9,
                cost.flops() / time.median() / 1e9,
                measured ? 100 * least.seconds() / time.median() : null,
                measured ? least.bound().name() : null,
                shape == Shape.PROMPT ? time.median() * 1e3 : null,
                shape == Shape.SEQUENCE || shape == Shape.LOGITS ? time.median() * steps : null,
                counters.launches() / (double) Math.max(1, counters.tokens()),
                (counters.hostToDeviceBytes() + counters.deviceToHostBytes()) / (double) Math.max(1, counters.tokens()),
                setting.repeats());
    }

    private OpCost.Step step(int tokens, int wanted, int context) {
        int rows = engine.program().graph().causal() ? wanted : tokens;
        return new OpCost.Step(setting.batch(), tokens, rows, context, engine.options().kv());
    }

    private Workload load(int capacity) {
        int vocabulary = engine.model().config().vocab();
        return new Workload(engine.program(), setting.batch(), capacity, engine.options().kv(), vocabulary);
    }
}
