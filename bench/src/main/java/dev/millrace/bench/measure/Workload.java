package dev.millrace.bench.measure;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.sampling.Sampling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/**
 * Work to be timed on a program: reading prompts and decoding, for one sequence or several, tokens random from a fixed
 * seed. Every timing ends with the result in the host's hands, so the device is done.
 */
public final class Workload implements AutoCloseable {
    private static final long SEED = 1;

    private final Program program;
    private final int batch;
    private final int vocabulary;
    private final List<Session> sessions = new ArrayList<>();
    private final Arena arena = Arena.ofConfined();
    private final String output;
    private final MemorySegment target;
    private final Random random = new Random(SEED);
    private final long[] stamps;
    private int kept;

    /**
     * @param capacity tokens that each of the {@code batch} sequences may hold
     * @param vocabulary ids are drawn below it
     */
    public Workload(Program program, int batch, int capacity, KvFormat kv, int vocabulary) {
        this.program = program;
        this.batch = batch;
        this.vocabulary = vocabulary;
        this.output = program.graph().causal() ? Graph.LOGITS : Graph.HIDDEN;
        this.stamps = new long[capacity + 1];
        long rows = program.graph().causal() ? batch : (long) batch * capacity;
        try {
            Math.multiplyExact(batch, capacity); // rows are counted in ints
            for (int i = 0; i < batch; i++) {
                sessions.add(program.newSession(capacity, kv));
            }
            this.target = arena.allocate(rows * program.graph().output(output).width() * Float.BYTES, 64);
        } catch (MillraceException | ArithmeticException | OutOfMemoryError e) {
            close();
            if (batch == 1) {
                throw e;
            }
            throw new MillraceException("-B " + batch + ": so many sequences of " + capacity + " tokens do not fit: " + e.getMessage(), e);
        }
    }

    /** Whether it is one growing sequence, whose sampling can stay on the device. */
    private boolean single() {
        return batch == 1 && program.graph().causal();
    }

    /** Seconds to read a prompt of {@code tokens} tokens in every sequence and give out the first new token. */
    public double prompt(int tokens) {
        clear();
        int[][] prompts = new int[batch][];
        for (int i = 0; i < batch; i++) {
            prompts[i] = ids(tokens);
        }
        long start = System.nanoTime();
        if (single()) {
            sessions.getFirst().decode(prompts[0], Sampling.GREEDY, 1, token -> true);
        } else {
            forward(prompts);
        }
        return (System.nanoTime() - start) * 1e-9;
    }

    /** Seconds to compute the logits of every token of a prompt in every sequence; they stay where they were computed. */
    public double logits(int tokens) {
        clear();
        List<Slice> slices = new ArrayList<>();
        for (Session session : sessions) {
            slices.add(new Slice(session, ids(tokens), Rows.ALL));
        }
        Batch all = new Batch(slices, output);
        long start = System.nanoTime();
        program.forward(all, MemorySegment.NULL);
        return (System.nanoTime() - start) * 1e-9;
    }

    /**
     * Seconds a token takes in decoding: the time between the first and the last of {@code n + 1} new tokens, over n. The
     * context is read once and kept for further timings after it.
     *
     * @param context positions before the first new token, at least 1
     */
    public double decode(int context, int n) {
        keep(context - 1);
        if (single()) {
            int[] count = {0};
            sessions.getFirst().decode(ids(1), Sampling.GREEDY, n + 1, token -> {
                stamps[count[0]++] = System.nanoTime();
                return true;
            });
            return (stamps[n] - stamps[0]) * 1e-9 / n;
        }
        int[][] next = new int[batch][1];
        Batch step = batchOf(next);
        program.forward(step, target);
        long start = System.nanoTime();
        for (int t = 0; t < n; t++) {
            for (int i = 0; i < batch; i++) {
                next[i][0] = random.nextInt(vocabulary);
            }
            program.forward(step, target);
        }
        return (System.nanoTime() - start) * 1e-9 / n;
    }

    /** Seconds to grow a sequence from {@code prompt} to {@code length} tokens, with or without keeping keys and values. */
    public double sequence(int prompt, int length, boolean cache) {
        clear();
        Session session = sessions.getFirst();
        int[] tokens = ids(length);
        long start = System.nanoTime();
        if (cache) {
            session.decode(Arrays.copyOf(tokens, prompt), Sampling.GREEDY, length - prompt, token -> true);
        } else {
            for (int have = prompt; have < length; have++) {
                session.truncate(0);
                int at = have;
                session.decode(Arrays.copyOf(tokens, have), Sampling.GREEDY, 1, token -> {
                    tokens[at] = token;
                    return true;
                });
            }
        }
        return (System.nanoTime() - start) * 1e-9;
    }

    /** Leaves every sequence with so many tokens. */
    private void keep(int context) {
        if (kept < context) {
            clear();
            int[][] prompts = new int[batch][];
            for (int i = 0; i < batch; i++) {
                prompts[i] = ids(context);
            }
            forward(prompts);
        }
        sessions.forEach(s -> s.truncate(context));
        kept = context;
    }

    private void forward(int[][] prompts) {
        program.forward(batchOf(prompts), target);
    }

    private Batch batchOf(int[][] tokens) {
        List<Slice> slices = new ArrayList<>();
        Rows rows = program.graph().causal() ? Rows.LAST : Rows.ALL;
        for (int i = 0; i < batch; i++) {
            slices.add(new Slice(sessions.get(i), tokens[i], rows));
        }
        return new Batch(slices, output);
    }

    private void clear() {
        kept = 0;
        sessions.forEach(s -> s.truncate(0));
    }

    private int[] ids(int n) {
        return random.ints(n, 0, vocabulary).toArray();
    }

    @Override
    public void close() {
        sessions.forEach(Session::close);
        arena.close();
    }
}
