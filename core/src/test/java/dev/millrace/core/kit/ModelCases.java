package dev.millrace.core.kit;

import static dev.millrace.core.tensor.WeightFormat.F32;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.kit.Trial.Pair;
import dev.millrace.core.kit.Trial.Part;
import dev.millrace.core.profile.OpObserver;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Function;

/** Whole models: sessions, batches, decoding, refusals, observation. */
final class ModelCases {
    private static final List<Style> STYLES = List.of(
            new Style("GPT", KitModels::gpt, KitModels::gptOfTiles, KitModels::gptOfWideHeads, KitModels::gptSmall),
            new Style("Llama", KitModels::llama, KitModels::llamaOfTiles, KitModels::llamaOfWideHeads, KitModels::llamaSmall));

    private ModelCases() {}

    /**
     * A kind of model in its sizes.
     *
     * @param small of what asks about steps and not about products; unfused where the session is asked and not the launches
     */
    private record Style(
            String name,
            Function<WeightFormat, GraphOf.Built> usual,
            Function<WeightFormat, GraphOf.Built> ofTiles,
            Function<WeightFormat, GraphOf.Built> ofWideHeads,
            Function<WeightFormat, GraphOf.Built> small) {
        GraphOf.Built small(Executor executor) {
            return KitModels.fused(small.apply(F32), executor);
        }
    }

    static List<KitCase> all() {
        List<KitCase> cases = new ArrayList<>();
        for (Style style : STYLES) {
            String name = style.name;
            for (WeightFormat format : LinearCases.FORMATS) {
                for (boolean fused : new boolean[] {false, true}) {
                    cases.add(new KitCase(
                            name + " model in " + format + (fused ? ", fused" : "") + ": prompt, steps, ragged batch",
                            (executor, tolerance) -> batches(
                                    executor, build(style.usual, format, fused, executor), 3 * tolerance.of(format))));
                }
                cases.add(new KitCase(
                        name + " model of whole tiles in " + format + ": prompt, steps, ragged batch",
                        (executor, tolerance) -> batches(
                                executor, build(style.ofTiles, format, true, executor), 3 * tolerance.of(format))));
                cases.add(new KitCase(
                        name + " model of heads of 128 in " + format + ": prompt, steps, ragged batch",
                        (executor, tolerance) -> batches(
                                executor, build(style.ofWideHeads, format, true, executor), 3 * tolerance.of(format))));
            }
            cases.add(new KitCase(name + ": greedy decoding gives the reference's tokens",
                    (executor, tolerance) ->
                            decode(executor, style.small(executor), Sampling.GREEDY, 6, 3 * tolerance.of(F32))));
            cases.add(new KitCase(name + ": decoding with a seed gives the reference's tokens", (executor, tolerance) -> {
                GraphOf.Built plain = style.small.apply(F32);
                double error = 3 * tolerance.of(F32);
                decode(executor, plain, new Sampling(1.1f, 0.8f, 40, 0.95f, 0, 7), 10, error);
                decode(executor, plain, new Sampling(1, 1, 0, 1, 0, -5), 10, error);
                decode(executor, plain, new Sampling(1.3f, 1.5f, 0, 0.7f, 0, 99), 10, error);
                decode(executor, plain, new Sampling(1, 0.7f, 5, 1, 0.1f, 123456789012345L), 10, error);
            }));
            cases.add(new KitCase(name + ": a prompt cut into chunks gives the same logits",
                    (executor, tolerance) -> chunks(executor, style.small(executor))));
            cases.add(new KitCase(name + ": rows that stay on the device count as computed",
                    (executor, tolerance) -> kept(executor, style.small(executor))));
            cases.add(new KitCase(name + ": decoding stops when told, at the limit and at the capacity",
                    (executor, tolerance) -> stops(executor, style.small.apply(F32))));
            cases.add(new KitCase(name + ": a wrong batch is refused and changes nothing",
                    (executor, tolerance) -> refusals(executor, style.small(executor))));
            cases.add(new KitCase(name + ": observed, every node reports its time and the result is the same",
                    (executor, tolerance) -> observed(executor, style.small(executor))));
        }
        return cases;
    }

    private static GraphOf.Built build(
            Function<WeightFormat, GraphOf.Built> model, WeightFormat format, boolean fused, Executor executor) {
        GraphOf.Built built = model.apply(format);
        return fused ? KitModels.fused(built, executor) : built;
    }

    private static void batches(Executor executor, GraphOf.Built built, double tolerance) {
        if (!Trial.readable(executor, built)) {
            return;
        }
        try (Trial trial = new Trial(executor, built)) {
            Random random = new Random(31);
            Pair a = trial.session(100, KvFormat.F32);
            Pair b = trial.session(100, KvFormat.F32);
            Pair c = trial.session(100, KvFormat.F32);
            trial.forward(tolerance, 9, new Part(a, Trial.tokens(9, random), Rows.ALL));
            trial.forward(tolerance, 1, new Part(a, Trial.tokens(1, random), Rows.LAST));
            trial.forward(
                    tolerance,
                    4,
                    new Part(b, Trial.tokens(21, random), Rows.LAST),
                    new Part(a, Trial.tokens(1, random), Rows.LAST),
                    new Part(c, Trial.tokens(2, random), Rows.ALL));
            for (int i = 0; i < 3; i++) {
                trial.forward(
                        tolerance,
                        2,
                        new Part(c, Trial.tokens(1, random), Rows.LAST),
                        new Part(b, Trial.tokens(1, random), Rows.NONE),
                        new Part(a, Trial.tokens(1, random), Rows.LAST));
            }
            trial.forward(tolerance, 0, new Part(a, Trial.tokens(30, random), Rows.NONE));
            trial.forward(tolerance, 1, new Part(a, Trial.tokens(1, random), Rows.LAST));
        }
    }

    /** Two prompts, with steps after the first past position 32, after the second past 64; then what all of them left in the cache. */
    private static void decode(Executor executor, GraphOf.Built built, Sampling sampling, int n, double tolerance) {
        try (Trial trial = new Trial(executor, built)) {
            Pair pair = trial.session(80, KvFormat.F32);
            Random random = new Random(33);
            int[] prompt = Trial.tokens(35 - n, random);
            for (int round = 0; round < 2; round++) {
                List<Integer> want = collect(pair.expected(), prompt, sampling, n);
                List<Integer> have = collect(pair.found(), prompt, sampling, n);
                equal("sampled tokens", want, have);
                equal("position", pair.expected().position(), pair.found().position());
                equal("tokens of the session", tokens(pair.expected()), tokens(pair.found()));
            }
            trial.forward(tolerance, 2, new Part(pair, Trial.tokens(2, random), Rows.ALL));
        }
    }

    private static List<Integer> collect(Session session, int[] prompt, Sampling sampling, int n) {
        List<Integer> tokens = new ArrayList<>();
        equal("count", n, session.decode(prompt, sampling, n, token -> tokens.add(token)));
        return tokens;
    }

    private static List<Integer> tokens(Session session) {
        List<Integer> tokens = new ArrayList<>();
        for (int p = 0; p < session.position(); p++) {
            tokens.add(session.token(p));
        }
        return tokens;
    }

    private static void chunks(Executor executor, GraphOf.Built built) {
        int[] prompt = Trial.tokens(61, new Random(34));
        float[] whole = logits(executor, built, 64, prompt);
        Trial.compare(whole, logits(executor, built, 60, prompt), 1e-5);
        int[] first = Arrays.copyOf(prompt, 20);
        int[] rest = Arrays.copyOfRange(prompt, 20, prompt.length);
        Trial.compare(whole, logits(executor, built, 7, first, rest), 1e-5);
        float[] ones = logits(executor, built, 1, Arrays.copyOf(prompt, 3));
        Trial.compare(Arrays.copyOf(whole, ones.length), ones, 1e-5);
    }

    /** Single tokens pass a multiple of 32 positions behind 31 whose rows were left on the device. */
    private static void kept(Executor executor, GraphOf.Built built) {
        int[] prompt = Trial.tokens(34, new Random(37));
        float[] whole = logits(executor, built, 0, prompt);
        float[] last = new float[3 * GraphOf.VOCABULARY];
        MemorySegment target = MemorySegment.ofArray(last);
        try (Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
                Session session = program.newSession(prompt.length, KvFormat.F32)) {
            program.forward(Batch.of(session, Arrays.copyOf(prompt, 31), Rows.ALL), MemorySegment.NULL);
            equal("position after rows that stayed", 31, session.position());
            for (int i = 0; i < 3; i++) {
                MemorySegment row = target.asSlice(4L * i * GraphOf.VOCABULARY);
                program.forward(Batch.of(session, new int[] {prompt[31 + i]}, Rows.LAST), row);
            }
        }
        Trial.compare(Arrays.copyOfRange(whole, 31 * GraphOf.VOCABULARY, whole.length), last, 1e-5);
    }

    /** Every row of tokens that one session is given slice by slice; {@code chunk} as in {@link CompileOptions}. */
    private static float[] logits(Executor executor, GraphOf.Built built, int chunk, int[]... slices) {
        int tokens = Arrays.stream(slices).mapToInt(slice -> slice.length).sum();
        float[] out = new float[tokens * GraphOf.VOCABULARY];
        MemorySegment target = MemorySegment.ofArray(out);
        try (Program program = executor.compile(built.graph(), built.weights(), new CompileOptions(chunk));
                Session session = program.newSession(tokens, KvFormat.F32)) {
            for (int[] slice : slices) {
                MemorySegment rows = target.asSlice(4L * session.position() * GraphOf.VOCABULARY);
                program.forward(Batch.of(session, slice, Rows.ALL), rows);
            }
        }
        return out;
    }

    private static void stops(Executor executor, GraphOf.Built built) {
        try (Trial trial = new Trial(executor, built)) {
            Session session = trial.session(13, KvFormat.F32).found();
            int[] prompt = Trial.tokens(5, new Random(35));
            List<Integer> all = collect(session, prompt, Sampling.GREEDY, 8);
            equal("position after 5 and 8", 12, session.position());
            session.truncate(0);
            List<Integer> some = new ArrayList<>();
            int count = session.decode(prompt, Sampling.GREEDY, 8, token -> {
                some.add(token);
                return some.size() < 3;
            });
            equal("stopped by the sink", 3, count);
            equal("tokens", all.subList(0, 3), some);
            equal("position after a stop", 7, session.position());
            session.truncate(3);
            equal("tokens after stepping back", Arrays.stream(prompt).limit(3).boxed().toList(), tokens(session));
            some.clear();
            count = session.decode(Arrays.copyOfRange(prompt, 3, 5), Sampling.GREEDY, 100, token -> some.add(token));
            equal("sampled up to the capacity", 9, count);
            equal("the same tokens again", all, some.subList(0, 8));
            equal("position at the capacity", 13, session.position());
        }
    }

    private static void refusals(Executor executor, GraphOf.Built built) {
        float[] out = new float[64 * GraphOf.VOCABULARY];
        MemorySegment target = MemorySegment.ofArray(out);
        try (Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
                Program other = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
                Session session = program.newSession(12, KvFormat.F32);
                Session foreign = other.newSession(12, KvFormat.F32)) {
            program.forward(Batch.of(session, new int[] {1, 2, 3}, Rows.NONE), target);
            Slice good = new Slice(session, new int[] {4}, Rows.LAST);
            refused("13 tokens in a session of 12", session,
                    () -> program.forward(Batch.of(session, new int[10], Rows.LAST), target));
            refused("a token past the vocabulary", session,
                    () -> program.forward(Batch.of(session, new int[] {1, GraphOf.VOCABULARY}, Rows.LAST), target));
            refused("a negative token", session,
                    () -> program.forward(Batch.of(session, new int[] {-1}, Rows.LAST), target));
            refused("a session twice", session,
                    () -> program.forward(new Batch(List.of(good, good), Graph.LOGITS), target));
            refused("a session of another program", session,
                    () -> program.forward(Batch.of(foreign, new int[] {1}, Rows.LAST), target));
            Session closed = program.newSession(12, KvFormat.F32);
            closed.close();
            refused("a closed session", session,
                    () -> program.forward(Batch.of(closed, new int[] {1}, Rows.LAST), target));
            refused("decoding in a closed session", session,
                    () -> closed.decode(new int[] {1}, Sampling.GREEDY, 2, token -> true));
            refused("a session without room", session, () -> program.newSession(0, KvFormat.F32));
            refused("an output the graph has not", session,
                    () -> program.forward(new Batch(List.of(good), "no such output"), target));
            program.forward(new Batch(List.of(good), Graph.LOGITS), target);
            equal("position after all that", 4, session.position());
        }
    }

    private static void refused(String what, Session session, Runnable action) {
        try {
            action.run();
        } catch (MillraceException e) {
            if (e.getMessage().isBlank() || e.getMessage().contains("\n")) {
                throw new AssertionError(what + ": the message is not one line: " + e.getMessage());
            }
            equal(what + ": position", 3, session.position());
            return;
        }
        throw new AssertionError(what + " was not refused");
    }

    private static void observed(Executor executor, GraphOf.Built built) {
        try (Trial trial = new Trial(executor, built)) {
            Pair pair = trial.session(64, KvFormat.F32);
            int[] prompt = Trial.tokens(9, new Random(36));
            List<Integer> plain = collect(pair.found(), prompt, Sampling.GREEDY, 3);
            pair.found().truncate(0);
            Recorder recorder = new Recorder();
            trial.program().observe(recorder);
            equal("tokens while observed", plain, collect(pair.found(), prompt, Sampling.GREEDY, 3));
            trial.program().observe(null);
            List<String> paths = trial.program().graph().nodesFor(Graph.LOGITS).stream().map(Node::path).toList();
            equal("steps", 3, recorder.steps.size());
            for (List<String> step : recorder.steps) {
                equal("nodes of a step", paths, step.stream().distinct().toList());
            }
            pair.found().truncate(0);
            equal("tokens after it was taken off", plain.subList(0, 2), collect(pair.found(), prompt, Sampling.GREEDY, 2));
            equal("steps after it was taken off", 3, recorder.steps.size());
        }
    }

    private static final class Recorder implements OpObserver {
        private final List<List<String>> steps = new ArrayList<>();

        @Override
        public void begin(int tokens, int context) {
            steps.add(new ArrayList<>());
        }

        @Override
        public void op(Node node, long startNanos, long endNanos) {
            if (endNanos < startNanos) {
                throw new AssertionError(node.path() + " ended before it started");
            }
            steps.getLast().add(node.path());
        }

        @Override
        public void span(String lane, String name, long startNanos, long endNanos) {}

        @Override
        public void end(long startNanos, long endNanos) {}
    }

    private static void equal(String what, Object want, Object have) {
        if (!want.equals(have)) {
            throw new AssertionError(what + ": " + have + ", expected " + want);
        }
    }
}
