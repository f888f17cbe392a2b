package dev.millrace.cuda;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Value;
import dev.millrace.cuda.driver.Geometry;
import dev.millrace.cuda.driver.GpuStream;
import dev.millrace.cuda.driver.PinnedBuffer;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.util.List;

/**
 * The decode loop, on the device: recorded steps, each of which ends in the sampler, which puts the next token where
 * the next step finds it. The host only queues steps, a few ahead, and reads tokens out of memory that the sampler
 * writes to. Steps queued past a stop run for nothing.
 */
final class Decoder implements AutoCloseable {
    /** Tokens of one recording: the device pauses for some microseconds between two. */
    private static final int UNIT = 4;

    /** Tokens that are queued beyond the one that is waited for, so that the device never waits for the host. */
    private static final int AHEAD = 2 * UNIT;

    private static final int RING = 4096;
    private static final int NONE = -1;
    private static final int SPINS_BETWEEN_CHECKS = 1 << 16;
    private static final VarHandle TOKEN = ValueLayout.JAVA_INT.varHandle();

    private final CudaProgram program;
    private final StepLauncher launcher;
    private final Machine machine;
    private final GpuStream stream;
    private final BatchTables tables;
    private final PinnedBuffer ring;
    private final RowSteps.Embedding next;
    private final int vocabulary;

    Decoder(CudaProgram program, StepLauncher launcher, List<Step> steps) {
        this.program = program;
        this.launcher = launcher;
        this.machine = program.machine();
        this.stream = machine.stream();
        this.vocabulary = program.graph().output(Graph.LOGITS).width();
        this.next = nextLookup(steps);
        try (Rollback rollback = new Rollback()) {
            tables = new BatchTables(machine.gpu(), 1);
            rollback.add(tables, tables::close);
            stream.clear(tables.sampling(), tables.bytes());
            ring = machine.gpu().pin(4L * RING);
            rollback.keep();
        }
        for (int i = 0; i < RING; i++) {
            ring.segment().setAtIndex(ValueLayout.JAVA_INT, i, NONE);
        }
    }

    /** The graph's only lookup, which the sampler can do for the next step; null where there are several. */
    private RowSteps.Embedding nextLookup(List<Step> steps) {
        List<Step> lookups =
                steps.stream().filter(s -> s instanceof RowSteps.Embedding).toList();
        return lookups.size() == 1 && machine.ropes().size() <= 1 ? (RowSteps.Embedding) lookups.getFirst() : null;
    }

    /** Where a prompt's first launch says how to sample, and for which sequence. */
    long first() {
        return tables.sampling();
    }

    /** Gives out the token that the prompt's launches drew for {@code session}, and goes on from there. */
    int run(CudaSession session, int n, Session.TokenSink sink) {
        int first = session.position();
        int limit = Math.min(n, session.capacity() - first + 1);
        boolean fused = next != null && launcher.observer() == null;
        int queued = 1;
        int sampled = 0;
        try {
            while (sampled < limit) {
                boolean observed = launcher.observer() != null;
                int room = Math.min(limit, program.limits().positions() - first + 1) - queued;
                while (room > 0 && queued < sampled + (observed ? 1 : AHEAD)) {
                    int count = observed || room < UNIT ? 1 : UNIT;
                    step(session.kv(), first + queued - 1, count, fused);
                    queued += count;
                    room -= count;
                }
                if (sampled == queued) {
                    throw new MillraceException("position " + (first + queued - 1) + " is past the model's "
                            + program.limits().positions() + " positions; use fewer tokens");
                }
                int token = await(first + sampled);
                if (sampled > 0) {
                    program.processed();
                }
                sampled++;
                program.sampledToken();
                boolean more = sink.accept(token);
                if (!more || sampled == limit) {
                    return sampled;
                }
                session.append(token);
            }
            return sampled;
        } finally {
            if (sampled < queued || launcher.observer() != null) {
                stream.await(); // else nothing is left to run but the end of the last sampler
            }
            for (int p = first; p < first + queued; p++) {
                ring.segment().setAtIndex(ValueLayout.JAVA_INT, p & (RING - 1), NONE);
            }
        }
    }

    /** Forgets the token that was drawn for {@code position}. */
    void forget(int position) {
        stream.await();
        ring.segment().setAtIndex(ValueLayout.JAVA_INT, position & (RING - 1), NONE);
    }

    /** Launches the sampler after a prompt, whose launches {@code e} has made. */
    void draw(Emission e, Marks marks) {
        Value logits = program.graph().output(Graph.LOGITS);
        long at = e.address(logits) + 4L * Activations.ld(logits.width()) * (e.rows(logits) - 1);
        Shape one = new Shape(Graph.LOGITS, 1, 1, 1, 1, 0, false, false, 1, false, false);
        sample(new Emission(machine, one, tables, marks), at, next != null && marks == null, e.partials());
    }

    /** Queues steps that process the token at {@code position} and those after it, and sample as many. */
    private void step(KvFormat kv, int position, int count, boolean fused) {
        launcher.run(shape(kv, position + count, count, fused), tables, 0, this, 1, position, true);
    }

    private Shape shape(KvFormat kv, int end, int count, boolean fused) {
        boolean f16 = kv == KvFormat.F16;
        return new Shape(Graph.LOGITS, 1, 1, 1, 1, Shape.reach(end), !f16, f16, count, fused, false);
    }

    /**
     * Launches the sampler.
     *
     * @param e of a step whose tables are the decoder's
     * @param fused whether it looks up the next step's embedding and angles too
     * @param partials blocks that have noted the highest score of their share; 0 for none
     */
    void sample(Emission e, long logits, boolean fused, int partials) {
        e.begin()
                .put(logits)
                .put(vocabulary)
                .put(partials)
                .put(tables.sampling())
                .put(tables.rows(1))
                .put(tables.sequences())
                .put(ring.deviceAddress())
                .put(machine.samplerWork())
                .put(machine.best());
        if (fused) {
            next.write(e);
        } else {
            RowSteps.Embedding.writeNone(e);
        }
        e.arguments().put(0L);
        if (fused && !machine.ropes().isEmpty()) {
            RowSteps.angles(e, machine.ropes().getFirst());
        } else {
            RowSteps.noAngles(e);
        }
        e.arguments().align().put(0L);
        e.launch("sample", Geometry.of(1, 1024));
    }

    /** Waits for the token at {@code position}, and empties its place. */
    private int await(int position) {
        long at = 4L * (position & (RING - 1));
        for (int spins = 1; ; spins++) {
            int token = (int) TOKEN.getAcquire(ring.segment(), at);
            if (token != NONE) {
                ring.segment().set(ValueLayout.JAVA_INT, at, NONE);
                return token;
            }
            if (spins % SPINS_BETWEEN_CHECKS == 0
                    && stream.idle()
                    && (int) TOKEN.getAcquire(ring.segment(), at) == NONE) {
                throw new MillraceException("CUDA: the sampler gave no token for position " + position);
            }
            Thread.onSpinWait();
        }
    }

    @Override
    public void close() {
        ring.close();
        tables.close();
    }
}
