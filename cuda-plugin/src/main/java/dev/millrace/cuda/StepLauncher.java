package dev.millrace.cuda;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.Value.Rows;
import dev.millrace.core.profile.OpObserver;
import dev.millrace.cuda.driver.Geometry;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Launches all that a program does for one shape: by hand when the shape comes once, as a recording when it comes back, and with
 * marks between the nodes while somebody observes.
 */
final class StepLauncher implements AutoCloseable {
    private static final int MARKS = 16 * 1024;

    private final Machine machine;
    private final Graph graph;
    private final List<Step> steps;
    private final Recordings recordings;
    private final Recordings observed;
    private final Map<Shape, Marks.Layout> layouts = new HashMap<>();
    private final Map<String, List<Step>> needed = new HashMap<>();
    private final Map<String, List<Step>> layered = new HashMap<>();
    private OpObserver observer;
    private Marks marks;
    private long launches;

    /** @param steps of all of the graph's outputs */
    StepLauncher(Machine machine, Graph graph, List<Step> steps) {
        this.machine = machine;
        this.graph = graph;
        this.steps = steps;
        this.recordings = new Recordings(machine.stream());
        this.observed = new Recordings(machine.stream());
    }

    /** Launches so far; a recording is one. */
    long launches() {
        return launches;
    }

    OpObserver observer() {
        return observer;
    }

    /** @param observer null to stop observing */
    void observe(OpObserver observer) {
        if (observer != null && marks == null) {
            marks = new Marks(machine.gpu(), machine.stream(), machine.kernels().get("mark"), MARKS);
        }
        if (this.observer == null && observer != null) {
            marks.start();
        }
        if (this.observer != null && observer == null) {
            marks.stop();
        }
        this.observer = observer;
    }

    /** Tells the observer, if there is one, of the host's calls since it was told last. */
    void reportCalls() {
        if (observer != null) {
            marks.reportCalls(observer);
        }
    }

    /**
     * Runs one step.
     *
     * @param message the address of a chunk's {@link BatchMessage}; of no meaning to a decoding step
     * @param decoder who draws tokens; null where none is drawn
     * @param context positions before it, for the observer
     * @param often whether steps of this shape will come again and again
     */
    void run(Shape shape, BatchTables tables, long message, Decoder decoder, int rows, int context, boolean often) {
        if (observer == null) {
            long before = machine.launches();
            boolean recorded = recordings.run(shape, often, () -> emit(shape, tables, message, decoder, null));
            launches += recorded ? 1 : machine.launches() - before;
            return;
        }
        observed.run(shape, true, () -> {
            marks.begin();
            emit(shape, tables, message, decoder, marks);
            layouts.put(shape, marks.layout());
        });
        launches++;
        marks.report(observer, layouts.get(shape), rows, context);
    }

    private void emit(Shape shape, BatchTables tables, long message, Decoder decoder, Marks marks) {
        Emission e = new Emission(machine, shape, tables, marks);
        if (!shape.decoding()) {
            describe(e, shape, message, decoder);
            angles(e);
            e.run(stepsFor(shape));
            if (shape.draws()) {
                endOfNodes(marks);
                decoder.draw(e, marks);
            }
            return;
        }
        for (int i = 0; i < shape.tokens(); i++) {
            if (!shape.sampled()) {
                angles(e);
            }
            e.run(stepsFor(shape));
            endOfNodes(marks);
            decoder.sample(e, e.address(graph.output(Graph.LOGITS)), shape.sampled(), e.partials());
        }
    }

    private static void endOfNodes(Marks marks) {
        if (marks != null) {
            marks.node(null);
        }
    }

    /** The first launch of a chunk: the device writes the tables that all others read. */
    private static void describe(Emission e, Shape shape, long message, Decoder decoder) {
        e.begin().put(message);
        e.batch();
        e.arguments().put(shape.draws() ? decoder.first() : 0L);
        e.launch("describe", new Geometry(Math.ceilDiv(shape.longest(), 256), shape.sequences(), 1, 256, 0));
    }

    private void angles(Emission e) {
        for (RopeRef.Table table : machine.ropes()) {
            e.begin();
            RowSteps.angles(e, table);
            e.launch("rope_angles", Geometry.of(e.shape().rows(), 128));
        }
    }

    private List<Step> stepsFor(Shape shape) {
        boolean none = shape.selected() == 0 && graph.output(shape.output()).rows() == Rows.SELECTED;
        Value output = none ? null : graph.output(shape.output());
        List<Step> plain =
                needed.computeIfAbsent(none ? "" : shape.output(), key -> Pruning.steps(graph, steps, output));
        if (shape.rows() > 1 || shape.selected() != 1 || shape.f16Caches() == shape.f32Caches()) {
            return plain;
        }
        KvFormat kv = shape.f16Caches() ? KvFormat.F16 : KvFormat.F32;
        return layered.computeIfAbsent(
                shape.output() + kv + shape.reach(),
                key -> Layers.fuse(plain, output, machine.rules().layers(), kv, shape.reach()));
    }

    /** Forgets all recordings, as what they point to is about to move; the stream must be idle. */
    void clear() {
        recordings.clear();
        observed.clear();
    }

    @Override
    public void close() {
        clear();
        if (marks != null) {
            marks.close();
        }
    }
}
