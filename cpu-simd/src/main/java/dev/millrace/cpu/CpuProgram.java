package dev.millrace.cpu;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Counters;
import dev.millrace.core.executor.InputLimits;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.MemoryUse;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.profile.OpObserver;
import dev.millrace.core.tensor.Weights;
import dev.millrace.cpu.attention.AttentionScratch;
import dev.millrace.cpu.attention.Rotation;
import dev.millrace.cpu.matmul.WeightMemory;
import dev.millrace.cpu.pool.WorkerPool;
import dev.millrace.cpu.step.Buffer;
import dev.millrace.cpu.step.Chunk;
import dev.millrace.cpu.step.Step;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A graph as steps. A batch is cut into chunks of tokens; one parallel region takes a chunk through all steps, with a
 * barrier after each.
 */
final class CpuProgram implements Program {
    /** Rows whose logits exist at once. */
    private static final int ROW_GROUP = 64;

    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final Graph graph;
    /** Activations of so many tokens stay in a core's cache, and more do not make products faster. */
    private static final int CHUNK = 512;

    private final int maxTokens;
    private final WorkerPool pool;
    private final InputLimits limits;
    private final List<Op.Attention> kept;
    private final boolean whole;
    private final WeightMemory memory = new WeightMemory();
    private final Compiler compiled;
    private final Map<String, Plan> plans = new HashMap<>();
    private final List<CpuSession> sessions = new ArrayList<>();
    private final Chunk chunk = new Chunk();
    private final WorkerPool.Region region = this::work;
    private final Timeline timeline;
    private final BoxingWatch decoding = BoxingWatch.decoding();
    private final BoxingWatch prompts = BoxingWatch.prompts();
    private OpObserver observer;
    private boolean closed;
    private long tokens;
    private long launches;

    private Plan plan;
    private MemorySegment target;
    private long targetRow;

    CpuProgram(Graph graph, Weights weights, CompileOptions options, WorkerPool pool) {
        this.graph = graph;
        this.maxTokens = options.maxTokens() == 0 ? CHUNK : options.maxTokens();
        this.pool = pool;
        this.limits = InputLimits.of(graph, weights);
        this.kept = Compiler.kept(graph);
        this.whole = graph.attentions().stream().anyMatch(a -> !a.causal())
                || graph.nodes().stream().anyMatch(n -> n.op() instanceof Op.Pool);
        this.timeline = new Timeline(pool.workers());
        try {
            compiled = new Compiler(graph, weights, pool, memory, options.progress());
            for (String output : graph.outputs().keySet()) {
                plans.put(output, compiled.plan(output));
            }
        } catch (RuntimeException | Error e) {
            memory.close();
            throw e;
        }
    }

    @Override
    public Graph graph() {
        return graph;
    }

    /** Embedding tables are read where they are, row by row. */
    @Override
    public boolean keepsWeights() {
        return compiled.mappedBytes() > 0;
    }

    @Override
    public Session newSession(int capacity, KvFormat kv) {
        open();
        CpuSession session = new CpuSession(this, kept, capacity, kv);
        sessions.add(session);
        return session;
    }

    void closed(CpuSession session) {
        sessions.remove(session);
    }

    @Override
    public void forward(Batch batch, MemorySegment into) {
        open();
        limits.check(this, batch);
        plan = plans.get(batch.output());
        if (plan == null) {
            graph.output(batch.output()); // says which there are
        }
        List<Slice> slices = batch.slices();
        long rows = plan.wanted().rows() == Value.Rows.SEQUENCES ? slices.size() : batch.rows();
        long needed = rows * plan.wanted().width() * Float.BYTES;
        if (into.byteSize() < needed && !into.equals(MemorySegment.NULL)) {
            throw new MillraceException("the target has " + into.byteSize() + " bytes; " + rows + " rows of "
                    + plan.wanted().width() + " floats need " + needed);
        }
        target = into;
        targetRow = 0;
        if (observer != null) {
            timeline.begin(batch.tokens(), slices.get(0).session().position());
        }
        int slice = 0;
        int from = 0;
        while (slice < slices.size()) {
            chunk.clear();
            int firstSlice = slice;
            int firstFrom = from;
            while (slice < slices.size() && chunk.tokens() < maxTokens) {
                Slice s = slices.get(slice);
                int left = s.tokens().length - from;
                int room = maxTokens - chunk.tokens();
                if (whole && left > room && chunk.tokens() > 0) {
                    break;
                }
                int n = whole ? left : Math.min(left, room);
                add(s, from, n);
                from = n == left ? 0 : from + n;
                slice += n == left ? 1 : 0;
            }
            run();
            if (limits.causal()) {
                advance(slices, firstSlice, firstFrom);
            }
            tokens += chunk.tokens();
        }
        if (observer != null) {
            timeline.report(observer);
        }
    }

    private void add(Slice slice, int from, int n) {
        CpuSession session = (CpuSession) slice.session();
        int start = limits.causal() ? session.position() : 0;
        int length = slice.tokens().length;
        int wanted = length - slice.rowCount();
        // a slice that is cut: its session has moved on by what came before
        int end = (limits.causal() ? session.position() - from : 0) + length;
        chunk.add(session.caches(), slice.tokens(), slice.types(), from, n, start, end, Math.max(0, wanted - from));
    }

    private void advance(List<Slice> slices, int slice, int from) {
        for (int piece = 0; piece < chunk.pieces(); piece++) {
            Slice s = slices.get(slice + piece);
            ((CpuSession) s.session()).append(s.tokens(), piece == 0 ? from : 0, chunk.count(piece));
        }
    }

    private void run() {
        int rows = room(chunk.tokens());
        compiled.scratch().ensure(rows);
        plan.tokens().ensure(rows);
        plan.selected().ensure(Math.min(room(chunk.selected()), ROW_GROUP));
        plan.sequences().ensure(chunk.pieces());
        ready(plan.prelude());
        ready(plan.tokens().steps());
        ready(plan.selected().steps());
        ready(plan.sequences().steps());
        launches++;
        if (observer != null) {
            timeline.region();
        }
        boolean prompt = chunk.tokens() > chunk.pieces();
        BoxingWatch watch = observer != null ? null : prompt ? prompts : decoding;
        if (watch != null) {
            watch.before();
        }
        if (prompt) {
            pool.run(region);
        } else {
            pool.runBrief(region);
        }
        if (watch != null) {
            watch.after();
        }
    }

    /** Memory grows by powers of two, so that prompts of ever new lengths do not allocate each time. */
    private int room(int rows) {
        int power = rows <= 1 ? rows : Integer.highestOneBit(rows - 1) * 2;
        return Math.max(rows, Math.min(power, maxTokens));
    }

    private void ready(List<Step> steps) {
        for (int i = 0; i < steps.size(); i++) {
            steps.get(i).ready(chunk);
        }
    }

    private void ready(Step[] steps) {
        for (Step step : steps) {
            step.ready(chunk);
        }
    }

    private void work(int worker, int workers) {
        boolean observed = observer != null;
        if (observed && worker == 0) {
            timeline.start(workers);
        }
        for (int i = 0; i < plan.prelude().size(); i++) {
            plan.prelude().get(i).run(chunk, 0, chunk.tokens(), worker, workers);
        }
        Value.Rows wanted = plan.wanted().rows();
        stage(plan.tokens(), 0, chunk.tokens(), observed, worker, workers);
        if (wanted == Value.Rows.TOKENS && worker == 0) {
            for (int i = 0; i < chunk.selected(); i++) {
                copy(chunk.selectedRow(i), 1);
            }
        }
        if (wanted == Value.Rows.SELECTED) {
            for (int first = 0; first < chunk.selected(); first += ROW_GROUP) {
                int rows = Math.min(ROW_GROUP, chunk.selected() - first);
                stage(plan.selected(), first, rows, observed, worker, workers);
                if (worker == 0) {
                    copy(0, rows);
                }
                if (first + ROW_GROUP < chunk.selected()) {
                    pool.barrier(worker);
                }
            }
        }
        if (wanted == Value.Rows.SEQUENCES) {
            stage(plan.sequences(), 0, chunk.pieces(), observed, worker, workers);
            if (worker == 0) {
                copy(0, chunk.pieces());
            }
        }
    }

    private void stage(Plan.Stage stage, int first, int rows, boolean observed, int worker, int workers) {
        for (int i = 0; i < stage.steps().length; i++) {
            stage.steps()[i].run(chunk, first, rows, worker, workers);
            if (observed) {
                timeline.done(worker);
            }
            pool.barrier(worker);
            if (observed) {
                timeline.passed(worker, stage.nodes()[i]);
            }
        }
    }

    /** By the caller: the target may be memory that only its thread may touch. */
    private void copy(int row, int rows) {
        if (target.equals(MemorySegment.NULL)) {
            return;
        }
        Buffer from = plan.output();
        int width = plan.wanted().width();
        MemorySegment.copy(
                from.data(), row * width, target, FLOAT, targetRow * width * Float.BYTES, rows * width);
        targetRow += rows;
    }

    @Override
    public MemoryUse memory() {
        long scratch = compiled.scratch().bytes();
        for (Plan each : plans.values()) {
            for (Value.Rows rows : Value.Rows.values()) {
                scratch += each.stage(rows).buffers().stream().mapToLong(Buffer::bytes).sum();
            }
        }
        scratch += compiled.attentions().stream().mapToLong(AttentionScratch::bytes).sum();
        scratch += compiled.rotations().stream().mapToLong(Rotation::bytes).sum();
        long caches = sessions.stream().mapToLong(CpuSession::bytes).sum();
        return new MemoryUse(compiled.ownedBytes(), compiled.mappedBytes(), scratch, caches);
    }

    @Override
    public Counters counters() {
        return new Counters(tokens, launches, 0, 0);
    }

    @Override
    public void observe(OpObserver observer) {
        this.observer = observer;
    }

    @Override
    public OpObserver observer() {
        return observer;
    }

    private void open() {
        if (closed) {
            throw new MillraceException("the program is closed");
        }
    }

    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        List.copyOf(sessions).forEach(CpuSession::close);
        compiled.scratch().close();
        compiled.attentions().forEach(AttentionScratch::close);
        memory.close();
    }
}
