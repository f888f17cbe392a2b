package dev.millrace.cuda;

import dev.millrace.cuda.driver.GpuGraph;
import dev.millrace.cuda.driver.GpuStream;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** Recorded steps by shape, the latest used ones. A shape is recorded when it comes back, not when it comes once. */
final class Recordings implements AutoCloseable {
    private static final int MOST = 48;

    private final GpuStream stream;
    private final Map<Shape, GpuGraph> graphs = new LinkedHashMap<>(16, 0.75f, true);
    private final Set<Shape> seen = new HashSet<>();

    Recordings(GpuStream stream) {
        this.stream = stream;
    }

    /**
     * Runs a step: replays its recording, records and replays it, or just runs it.
     *
     * @param often whether it is worth recording at once
     * @return whether one recording was launched, and not each kernel
     */
    boolean run(Shape shape, boolean often, Runnable emit) {
        GpuGraph graph = graphs.get(shape);
        if (graph == null && !often && seen.add(shape)) {
            emit.run();
            return false;
        }
        if (graph == null) {
            graph = stream.record(emit);
            graphs.put(shape, graph);
            if (graphs.size() > MOST) {
                var eldest = graphs.entrySet().iterator();
                GpuGraph old = eldest.next().getValue();
                eldest.remove();
                stream.await();
                old.close();
            }
        }
        stream.launch(graph);
        return true;
    }

    /** Forgets everything; the stream must be idle. */
    void clear() {
        graphs.values().forEach(GpuGraph::close);
        graphs.clear();
        seen.clear();
    }

    @Override
    public void close() {
        clear();
    }
}
