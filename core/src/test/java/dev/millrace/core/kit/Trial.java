package dev.millrace.core.kit;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.reference.ReferenceProvider;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/** The same forwards on an executor and on the reference, compared. */
public final class Trial implements AutoCloseable {
    private final Executor oracle = new ReferenceProvider().open(0, ExecutorOptions.DEFAULT);
    private final Program expected;
    private final Program found;
    private final List<Session> sessions = new ArrayList<>();
    private final int width;

    public Trial(Executor executor, GraphOf.Built built) {
        this(executor, built, CompileOptions.DEFAULT);
    }

    public Trial(Executor executor, GraphOf.Built built, CompileOptions options) {
        this.expected = oracle.compile(built.graph(), built.weights(), options);
        this.found = executor.compile(built.graph(), built.weights(), options);
        this.width = built.graph().output(Graph.LOGITS).width();
    }

    /**
     * Whether {@code executor} reads all matrices of {@code built} as they are. Where it does not, whoever runs a model
     * converts them first, and compiling them as they are must be refused: fails when it is not.
     */
    public static boolean readable(Executor executor, GraphOf.Built built) {
        for (Node node : built.graph().nodes()) {
            List<Op.Linear> parts =
                    switch (node.op()) {
                        case Op.Linear l -> List.of(l);
                        case Op.FusedLinear f -> f.parts();
                        default -> List.of();
                    };
            for (Op.Linear part : parts) {
                if (!executor.formats().contains(built.weights().get(part.weight()).format())) {
                    refused(executor, built, node.path());
                    return false;
                }
            }
        }
        return true;
    }

    private static void refused(Executor executor, GraphOf.Built built, String path) {
        try (Program compiled = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT)) {
            throw new AssertionError(path + " has a format that is not among the executor's, and was compiled");
        } catch (MillraceException e) {
            if (!e.getMessage().contains(path)) {
                throw new AssertionError("the refusal of " + path + " does not name it: " + e.getMessage(), e);
            }
        }
    }

    /** A session on both. */
    public record Pair(Session expected, Session found) {}

    public Pair session(int capacity, KvFormat kv) {
        Pair pair = new Pair(expected.newSession(capacity, kv), found.newSession(capacity, kv));
        sessions.add(pair.expected);
        sessions.add(pair.found);
        return pair;
    }

    /** Tokens for a pair. */
    public record Part(Pair pair, int[] tokens, int[] types, Rows rows) {
        public Part(Pair pair, int[] tokens, Rows rows) {
            this(pair, tokens, null, rows);
        }
    }

    /** Forwards {@code parts} on both; fails when the error is above {@code tolerance}, or a row was left unwritten. */
    public void forward(double tolerance, int rows, Part... parts) {
        float[] want = run(expected, rows, parts, true);
        float[] have = run(found, rows, parts, false);
        compare(want, have, tolerance * chance(tolerance, want.length));
        for (Part part : parts) {
            int w = part.pair.expected.position();
            int h = part.pair.found.position();
            if (w != h) {
                throw new AssertionError("position " + h + ", expected " + w);
            }
        }
    }

    /** The error of rounded activations is random: over few values it may lie well above what it is over many. */
    private static double chance(double tolerance, int values) {
        return tolerance < 1e-4 ? 1 : 1 + 4 / Math.sqrt(values);
    }

    private float[] run(Program program, int rows, Part[] parts, boolean oracle) {
        List<Slice> slices = new ArrayList<>();
        for (Part p : parts) {
            slices.add(new Slice(oracle ? p.pair.expected : p.pair.found, p.tokens, p.types, p.rows));
        }
        float[] out = new float[rows * width];
        Arrays.fill(out, Float.NaN);
        program.forward(new Batch(slices, Graph.LOGITS), MemorySegment.ofArray(out));
        return out;
    }

    /** Fails when {@code |have - want| / |want|} is above {@code tolerance} or not a number. */
    public static void compare(float[] want, float[] have, double tolerance) {
        double error = 0;
        double norm = 0;
        int worst = 0;
        for (int i = 0; i < want.length; i++) {
            double d = have[i] - (double) want[i];
            error += d * d;
            norm += (double) want[i] * want[i];
            if (!(Math.abs(d) <= Math.abs(have[worst] - (double) want[worst]))) {
                worst = i;
            }
        }
        double relative = Math.sqrt(error / Math.max(norm, 1e-30));
        if (!(relative <= tolerance)) {
            throw new AssertionError(String.format(
                    "relative error %.3g above %.3g; worst at %d of %d: %g, expected %g",
                    relative, tolerance, worst, want.length, have[worst], want[worst]));
        }
    }

    /** Random tokens of the kit's vocabulary. */
    public static int[] tokens(int n, Random random) {
        return random.ints(n, 0, GraphOf.VOCABULARY).toArray();
    }

    public Program program() {
        return found;
    }

    public Program reference() {
        return expected;
    }

    @Override
    public void close() {
        sessions.forEach(Session::close);
        found.close();
        expected.close();
        oracle.close();
    }
}
