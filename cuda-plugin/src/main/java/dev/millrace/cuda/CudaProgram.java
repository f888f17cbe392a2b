package dev.millrace.cuda;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.Counters;
import dev.millrace.core.executor.InputLimits;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.MemoryUse;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.executor.TokenSession;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.Value.Rows;
import dev.millrace.core.profile.OpObserver;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.cuda.driver.DeviceBuffer;
import dev.millrace.cuda.driver.GpuStream;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** A graph on the device: cuts batches into chunks, runs them as launches or recordings, and brings results back. */
final class CudaProgram implements Program {
    private final Machine machine;
    private final List<Step> steps;
    private final StepLauncher launcher;
    private final Graph graph;
    private final InputLimits limits;
    private final int maxTokens;
    private final long kvElements;
    private final boolean wholeSlices;
    private final GpuStream stream;
    private final Map<Integer, Download> downloads = new HashMap<>();
    private final Set<CudaSession> sessions = new LinkedHashSet<>();
    private BatchTables tables;
    private BatchMessage message;
    private Decoder decoder;
    private long tokens;
    private long uploaded;
    private long downloaded;
    /** Whether the device may not have read the message yet. */
    private boolean unread;

    private boolean open = true;

    CudaProgram(
            Machine machine, Lowering.Lowered lowered, InputLimits limits, BatchTables tables, BatchMessage message) {
        this.machine = machine;
        this.steps = lowered.steps();
        this.graph = lowered.graph();
        this.kvElements = lowered.kvElements();
        this.limits = limits;
        this.tables = tables;
        this.message = message;
        this.maxTokens = lowered.maxTokens();
        this.stream = machine.stream();
        this.launcher = new StepLauncher(machine, graph, steps);
        this.wholeSlices = !lowered.causal() || graph.nodes().stream().anyMatch(n -> n.op() instanceof Op.Pool);
    }

    @Override
    public Graph graph() {
        return graph;
    }

    @Override
    public boolean keepsWeights() {
        return false;
    }

    InputLimits limits() {
        return limits;
    }

    Machine machine() {
        return machine;
    }

    @Override
    public OpObserver observer() {
        return launcher.observer();
    }

    @Override
    public Session newSession(int capacity, KvFormat kv) {
        use();
        long cache = Format.roundUp(Math.multiplyExact(kvElements * TokenSession.requireRoom(capacity), kv.bytes()), 256);
        long bytes = cache + 4L * capacity;
        String what = "a session of " + capacity + " tokens with " + kv.name().toLowerCase(Locale.ROOT) + " cache";
        machine.gpu().require(bytes, what);
        DeviceBuffer memory = machine.gpu().allocate(bytes, what);
        stream.clear(memory.address(), bytes);
        CudaSession session = new CudaSession(this, capacity, kv, memory, cache);
        sessions.add(session);
        return session;
    }

    void closed(CudaSession session) {
        if (open) {
            use();
            stream.await();
        }
        sessions.remove(session);
    }

    private void use() {
        if (!open) {
            throw new IllegalStateException("the program is closed");
        }
        machine.gpu().use();
    }

    @Override
    public void forward(Batch batch, MemorySegment target) {
        limits.check(this, batch);
        Value wanted = graph.output(batch.output());
        long rows = wanted.rows() == Rows.SEQUENCES ? batch.slices().size() : batch.rows();
        long bytes = 4L * rows * wanted.width();
        boolean given = !target.equals(MemorySegment.NULL);
        if (given && target.byteSize() < bytes) {
            throw new MillraceException("a target of " + target.byteSize() + " bytes for " + rows + " rows of "
                    + wanted.width() + " floats: it must have " + bytes);
        }
        use();
        run(batch, wanted, given ? target : null, null);
        append(batch);
        settle();
        launcher.reportCalls();
    }

    int decode(CudaSession session, int[] prompt, Sampling sampling, int n, Session.TokenSink sink) {
        if (n < 1) {
            return 0;
        }
        Batch batch = Batch.of(session, prompt, Batch.Rows.LAST);
        limits.checkRoom(this, batch);
        use();
        if (decoder == null) {
            decoder = new Decoder(this, launcher, steps);
        }
        run(batch, graph.output(Graph.LOGITS), null, sampling);
        try {
            limits.checkIds(batch); // while the device is at work: it never reads past a table
        } catch (MillraceException e) {
            decoder.forget(session.position() + prompt.length);
            throw e;
        }
        append(batch);
        int sampled = decoder.run(session, n, sink);
        unread = false; // a token came out of it
        launcher.reportCalls();
        return sampled;
    }

    /**
     * Runs a batch in chunks, and copies the wanted rows to {@code target} unless it is null.
     *
     * @param sampling how to draw the token that follows; null for none
     */
    private void run(Batch batch, Value wanted, MemorySegment target, Sampling sampling) {
        Chunks chunks = new Chunks(batch, chunkFor(batch), wholeSlices, limits.causal());
        long written = 0;
        while (chunks.next()) {
            if (unread) {
                settle();
            }
            reserve(chunks, wanted);
            boolean draws = sampling != null && chunks.last();
            if (draws) {
                CudaSession session = (CudaSession) batch.slices().getFirst().session();
                message.draw(session, session.position() + batch.tokens(), sampling);
            }
            chunks.describe(message);
            uploaded += message.finish();
            Shape shape = chunks.shape(draws);
            unread = true;
            launcher.run(shape, tables, message.address(), decoder, chunks.rows(), chunks.context(), false);
            if (target != null) {
                written = fetch(chunks, shape, wanted, target, written);
            }
        }
    }

    private void settle() {
        stream.await();
        unread = false;
    }

    /** The batch's tokens are part of its sessions now. */
    private void append(Batch batch) {
        for (Slice slice : batch.slices()) {
            if (limits.causal()) {
                ((CudaSession) slice.session()).append(slice.tokens());
            }
        }
        tokens += batch.tokens();
    }

    /** Tokens at once: fewer where so many rows of output would not fit. */
    private int chunkFor(Batch batch) {
        Activations a = machine.activations();
        int rows = batch.rows();
        int chunk = maxTokens;
        while (chunk > PrefillChunk.LEAST
                && !a.holds(Rows.SELECTED, Math.min(rows, chunk))
                && a.bytesFor(Rows.SELECTED, Math.min(rows, chunk)) > machine.gpu().freeBytes() / 2) {
            chunk /= 2;
        }
        return chunk;
    }

    private long fetch(Chunks chunks, Shape shape, Value wanted, MemorySegment target, long written) {
        Download download =
                downloads.computeIfAbsent(wanted.width(), w -> new Download(machine.gpu(), stream, w));
        long address = new Emission(machine, shape, tables, null).address(wanted);
        long rowBytes = 4L * Activations.ld(wanted.width());
        for (Chunks.Run run : chunks.wanted(wanted.rows())) {
            downloaded += download.rows(address + run.from() * rowBytes, run.count(), target, written);
            written += 4L * run.count() * wanted.width();
        }
        return written;
    }

    private void reserve(Chunks chunks, Value wanted) {
        Activations a = machine.activations();
        int selected = chunks.selected();
        boolean fits = tables.capacity() >= chunks.rows()
                && a.holds(Rows.TOKENS, chunks.rows())
                && a.holds(Rows.SELECTED, selected)
                && a.holds(Rows.SEQUENCES, chunks.sequences());
        if (fits) {
            return;
        }
        stream.await();
        launcher.clear();
        a.reserve(Rows.TOKENS, chunks.rows());
        a.reserve(Rows.SELECTED, selected);
        a.reserve(Rows.SEQUENCES, chunks.sequences());
        if (tables.capacity() < chunks.rows()) {
            tables.close();
            message.close();
            tables = new BatchTables(machine.gpu(), chunks.rows());
            message = new BatchMessage(machine.gpu(), chunks.rows());
        }
    }

    void sent(long bytes) {
        uploaded += bytes;
    }

    /** A token came back through mapped memory. */
    void sampledToken() {
        downloaded += Integer.BYTES;
    }

    void processed() {
        tokens++;
    }

    @Override
    public MemoryUse memory() {
        long scratch = machine.activations().bytes() + machine.workBytes() + tables.bytes();
        long caches = sessions.stream().mapToLong(CudaSession::bytes).sum();
        return new MemoryUse(machine.weightBytes(), 0, scratch, caches);
    }

    @Override
    public Counters counters() {
        return new Counters(tokens, launcher.launches(), uploaded, downloaded);
    }

    @Override
    public void observe(OpObserver observer) {
        use();
        launcher.observe(observer);
    }

    @Override
    public void close() {
        if (!open) {
            return;
        }
        use();
        List.copyOf(sessions).forEach(CudaSession::close);
        open = false;
        launcher.close();
        if (decoder != null) {
            decoder.close();
        }
        downloads.values().forEach(Download::close);
        tables.close();
        message.close();
        machine.close();
    }
}
