package dev.millrace.cuda;

import dev.millrace.core.graph.Node;
import dev.millrace.core.profile.OpObserver;
import dev.millrace.cuda.driver.DeviceBuffer;
import dev.millrace.cuda.driver.Geometry;
import dev.millrace.cuda.driver.Gpu;
import dev.millrace.cuda.driver.GpuStream;
import dev.millrace.cuda.driver.Kernel;
import dev.millrace.cuda.driver.PinnedBuffer;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * Where an observed step writes when each of its kernels ended, by the device's own clock: the last act of every block
 * is to raise its kernel's mark. No launch is added between two kernels, so what is measured is what runs unobserved; a
 * node's time is from the end of the one before to its own end.
 */
final class Marks implements AutoCloseable {
    private record Entry(Node node, String kernel, int slot) {}

    private final DeviceBuffer device;
    private final PinnedBuffer host;
    private final Kernel start;
    private final List<Entry> entries = new ArrayList<>();
    private int slots;

    Marks(Gpu gpu, Kernel start, int capacity) {
        this.start = start;
        device = gpu.allocate(8L * capacity, "time marks");
        try {
            host = gpu.pin(8L * capacity);
        } catch (RuntimeException e) {
            device.close();
            throw e;
        }
    }

    /** Launches what opens a step. */
    void begin(GpuStream stream) {
        entries.clear();
        slots = 1;
        stream.clear(device.address(), device.bytes());
        stream.arguments().begin().put(device.address());
        stream.launch(start, Geometry.of(1, 1));
    }

    /** The launches that follow are of this node; null for what is no node. */
    void node(Node node) {
        entries.add(new Entry(node, null, slots));
    }

    /** The address of the next launch's mark. */
    long next(String kernel) {
        if (8L * (slots + 1) > device.bytes()) {
            throw new IllegalStateException("more than " + slots + " launches in a step");
        }
        entries.add(new Entry(null, kernel, slots));
        return device.address() + 8L * slots++;
    }

    /** Brings the marks of a step back; the stream must be waited for before {@link #report}. */
    void fetch(GpuStream stream) {
        stream.download(device.address(), host.segment(), 8L * slots);
    }

    private long at(int slot) {
        return host.segment().getAtIndex(ValueLayout.JAVA_LONG, slot);
    }

    /** Tells the observer; {@code offset} turns the device's clock into {@link System#nanoTime}. */
    void report(OpObserver observer, int tokens, int context, long offset) {
        observer.begin(tokens, context);
        long begin = at(0) + offset;
        long time = begin;
        for (int i = 0; i < entries.size(); i++) {
            Entry entry = entries.get(i);
            if (entry.kernel != null) {
                long end = Math.max(time, at(entry.slot) + offset);
                observer.span("stream", entry.kernel, time, end);
                time = end;
            } else if (entry.node != null) {
                long end = time;
                for (int j = i + 1; j < entries.size() && entries.get(j).kernel != null; j++) {
                    end = Math.max(end, at(entries.get(j).slot) + offset);
                }
                observer.op(entry.node, time, end);
            }
        }
        observer.end(begin, time);
    }

    /** What to add to the device's clock to get {@link System#nanoTime}, taken where the two lie closest. */
    long clockOffset(GpuStream stream) {
        long best = Long.MAX_VALUE;
        long offset = 0;
        for (int i = 0; i < 8; i++) {
            long before = System.nanoTime();
            begin(stream);
            stream.download(device.address(), host.segment(), 8);
            stream.await();
            long after = System.nanoTime();
            if (after - before < best) {
                best = after - before;
                offset = before + (after - before) / 2 - at(0);
            }
        }
        return offset;
    }

    @Override
    public void close() {
        host.close();
        device.close();
    }
}
