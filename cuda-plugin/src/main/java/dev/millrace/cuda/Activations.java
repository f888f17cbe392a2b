package dev.millrace.cuda;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.Value.Rows;
import dev.millrace.cuda.driver.DeviceBuffer;
import dev.millrace.cuda.driver.Gpu;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Device memory of the activations: one piece for each meaning of a row, in which activations that do not live at the
 * same time share space. A place is kept in bytes per row, so a piece can grow when more rows are asked for.
 */
final class Activations implements AutoCloseable {
    /** Rows are padded to this many elements; the padding of 16-bit rows is zero, and kernels write no further. */
    static final int COLUMN_TILE = 64;

    private static final int ROW_TILE = 128;
    private static final int FEW_ROWS = 8;

    private final Gpu gpu;
    private final long[] places;
    private final Map<String, Long> extras = new HashMap<>();
    private final long[] rowBytes = new long[Rows.values().length];
    private final int[] capacity = new int[Rows.values().length];
    private final DeviceBuffer[] buffers = new DeviceBuffer[Rows.values().length];

    Activations(Gpu gpu, Graph graph) {
        this.gpu = gpu;
        int values = graph.nodes().stream().mapToInt(n -> n.output().id()).max().orElse(-1) + 1;
        this.places = new long[values];
        place(graph);
    }

    /** Elements from one row of an activation to the next. */
    static int ld(int width) {
        return Format.roundUp(width, COLUMN_TILE);
    }

    private static long bytes(int width) {
        return (long) Float.BYTES * ld(width);
    }

    private record Span(long from, long to, int lastUse) {}

    private void place(Graph graph) {
        int[] lastUse = lastUses(graph);
        Map<Rows, List<Span>> live = new HashMap<>();
        for (int n = 0; n < graph.nodes().size(); n++) {
            int now = n;
            Value value = graph.nodes().get(n).output();
            List<Span> spans = live.computeIfAbsent(value.rows(), r -> new ArrayList<>());
            spans.removeIf(span -> span.lastUse < now);
            spans.sort(Comparator.comparingLong(Span::from));
            long at = 0;
            for (Span span : spans) {
                if (at + bytes(value.width()) <= span.from) {
                    break;
                }
                at = Math.max(at, span.to);
            }
            spans.add(new Span(at, at + bytes(value.width()), lastUse[value.id()]));
            places[value.id()] = at;
            int rows = value.rows().ordinal();
            rowBytes[rows] = Math.max(rowBytes[rows], at + bytes(value.width()));
        }
    }

    /**
     * The last node that reads each activation. Outputs live on; what a Select may only point at, and what a norm may be
     * taken over by the map after it, live as long as the result.
     */
    private int[] lastUses(Graph graph) {
        int[] lastUse = new int[places.length];
        for (int n = graph.nodes().size() - 1; n >= 0; n--) {
            Node node = graph.nodes().get(n);
            int own = Math.max(n, lastUse[node.output().id()]);
            for (Value input : node.inputs()) {
                int until = node.op() instanceof Op.Select || node.op() instanceof Op.Norm ? own : n;
                lastUse[input.id()] = Math.max(lastUse[input.id()], until);
            }
        }
        graph.outputs().values().forEach(v -> lastUse[v.id()] = Integer.MAX_VALUE);
        return lastUse;
    }

    /** Sets aside {@code bytes} a row beside the activations; only before the first {@link #reserve}. */
    void extra(String name, Rows rows, long bytes) {
        String key = name + rows;
        if (!extras.containsKey(key)) {
            extras.put(key, rowBytes[rows.ordinal()]);
            rowBytes[rows.ordinal()] += Format.roundUp(bytes, 256);
        }
    }

    long extraAddress(String name, Rows rows) {
        return at(rows, extras.get(name + rows));
    }

    /** Where a value starts in a row of its piece, in bytes. */
    long place(Value value) {
        return places[value.id()];
    }

    /** Where it ends. */
    long end(Value value) {
        return places[value.id()] + bytes(value.width());
    }

    long address(Value value) {
        return at(value.rows(), places[value.id()]);
    }

    private long at(Rows rows, long place) {
        int r = rows.ordinal();
        return buffers[r].address() + place * capacity[r];
    }

    /** Bytes that a piece for so many rows takes. */
    long bytesFor(Rows rows, int count) {
        return rowBytes[rows.ordinal()] * rounded(count);
    }

    private static int rounded(int count) {
        return count <= FEW_ROWS ? FEW_ROWS : Format.roundUp(count, ROW_TILE);
    }

    /** Whether there is room for so many rows. */
    boolean holds(Rows rows, int count) {
        return capacity[rows.ordinal()] >= count || rowBytes[rows.ordinal()] == 0;
    }

    /** Makes room for so many rows; addresses change when it has to grow, and contents are lost. */
    void reserve(Rows rows, int count) {
        int r = rows.ordinal();
        if (holds(rows, count)) {
            return;
        }
        if (buffers[r] != null) {
            buffers[r].close();
            buffers[r] = null;
            capacity[r] = 0;
        }
        buffers[r] = gpu.allocate(bytesFor(rows, count), "work space for " + count + " rows");
        capacity[r] = rounded(count);
    }

    /** Bytes of device memory held. */
    long bytes() {
        return Arrays.stream(buffers).filter(b -> b != null).mapToLong(DeviceBuffer::bytes).sum();
    }

    @Override
    public void close() {
        for (DeviceBuffer buffer : buffers) {
            if (buffer != null) {
                buffer.close();
            }
        }
    }
}
