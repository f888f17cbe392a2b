package dev.millrace.cuda;

import dev.millrace.core.graph.Node;
import dev.millrace.core.profile.OpObserver;
import dev.millrace.cuda.driver.DeviceBuffer;
import dev.millrace.cuda.driver.Geometry;
import dev.millrace.cuda.driver.Gpu;
import dev.millrace.cuda.driver.GpuStream;
import dev.millrace.cuda.driver.Kernel;
import dev.millrace.cuda.driver.PinnedBuffer;
import dev.millrace.cuda.driver.StreamObserver;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * Where an observed step writes when each of its kernels ended, by the device's own clock: the last act of every block
 * is to raise its kernel's mark. No launch is added between two kernels, so what is measured is what runs unobserved; a
 * node's time is from the end of the one before to its own end. Round each copy between host and device, which lies
 * outside the recorded launches, the clock is written by a launch of its own.
 */
final class Marks implements StreamObserver, AutoCloseable {
    private static final String COPIES = "copies";

    /** Copies that one step can have; the clock of further ones is not taken. */
    private static final int MOST_COPIES = 256;

    /** What a step's launches are of, and which marks they raise. */
    record Layout(List<Entry> entries, int slots) {}

    private record Entry(Node node, String kernel, int slot) {}

    private record Call(String name, long start, long end) {}

    private final DeviceBuffer device;
    private final PinnedBuffer host;
    private final GpuStream stream;
    private final Kernel clock;
    private final int capacity;
    private final List<Call> calls = new ArrayList<>();
    private final List<String> copies = new ArrayList<>();
    private List<Entry> entries = new ArrayList<>();
    private int slots;
    private long offset;
    private boolean own;
    private boolean copying;

    /** @param capacity launches that one step can have */
    Marks(Gpu gpu, GpuStream stream, Kernel clock, int capacity) {
        this.stream = stream;
        this.clock = clock;
        this.capacity = capacity;
        long bytes = 8L * (capacity + 2 * MOST_COPIES);
        device = gpu.allocate(bytes, "time marks");
        try {
            host = gpu.pin(bytes);
        } catch (RuntimeException e) {
            device.close();
            throw e;
        }
    }

    /** Starts a step's launches. */
    void begin() {
        entries = new ArrayList<>();
        slots = 1;
        own = true;
        stream.clear(device.address(), 8L * capacity);
        write(0);
        own = false;
    }

    /** Queues the writing of the device's clock. */
    private void write(int slot) {
        stream.arguments().begin().put(device.address() + 8L * slot);
        stream.launch(clock, Geometry.of(1, 1));
    }

    /** The launches that follow are of this node; null for what is no node. */
    void node(Node node) {
        entries.add(new Entry(node, null, slots));
    }

    /** The address of the next launch's mark. */
    long next(String kernel) {
        if (slots == capacity) {
            throw new IllegalStateException("more than " + slots + " launches in a step");
        }
        entries.add(new Entry(null, kernel, slots));
        return device.address() + 8L * slots++;
    }

    /** The launches since {@link #begin}. */
    Layout layout() {
        return new Layout(List.copyOf(entries), slots);
    }

    @Override
    public void called(String call, long startNanos, long endNanos) {
        if (!own) {
            calls.add(new Call(call, startNanos, endNanos));
        }
    }

    @Override
    public void copies(String direction, long bytes) {
        if (!own && copies.size() < MOST_COPIES) {
            copying = true;
            copies.add(direction + ", " + bytes + " bytes");
            stamp(0);
        }
    }

    @Override
    public void copied() {
        if (copying) {
            copying = false;
            stamp(1);
        }
    }

    private void stamp(int end) {
        own = true;
        write(capacity + 2 * (copies.size() - 1) + end);
        own = false;
    }

    private long at(int slot) {
        return host.segment().getAtIndex(ValueLayout.JAVA_LONG, slot) + offset;
    }

    private void fetch(int from, int count) {
        own = true;
        stream.download(device.address() + 8L * from, host.segment().asSlice(8L * from), 8L * count);
        stream.await();
        own = false;
    }

    /** Waits for a step and tells the observer of it. */
    void report(OpObserver observer, Layout layout, int tokens, int context) {
        stream.await();
        fetch(0, layout.slots);
        observer.begin(tokens, context);
        reportCalls(observer);
        long begin = at(0);
        long time = begin;
        for (int i = 0; i < layout.entries.size(); i++) {
            Entry entry = layout.entries.get(i);
            if (entry.kernel != null) {
                long end = Math.max(time, at(entry.slot));
                observer.span("stream", entry.kernel, time, end);
                time = end;
            } else if (entry.node != null) {
                long end = time;
                for (int j = i + 1; j < layout.entries.size() && layout.entries.get(j).kernel != null; j++) {
                    end = Math.max(end, at(layout.entries.get(j).slot));
                }
                observer.op(entry.node, time, end);
            }
        }
        observer.end(begin, time);
    }

    /** Tells the observer of the host's calls and of copies since the last time; the stream must be idle. */
    void reportCalls(OpObserver observer) {
        if (!copies.isEmpty()) {
            fetch(capacity, 2 * copies.size());
        }
        for (int i = 0; i < copies.size(); i++) {
            long start = at(capacity + 2 * i);
            observer.span(COPIES, copies.get(i), start, Math.max(start, at(capacity + 2 * i + 1)));
        }
        calls.forEach(call -> observer.span(OpObserver.HOST, call.name, call.start, call.end));
        copies.clear();
        calls.clear();
    }

    /**
     * Watches the stream from now on. What to add to the device's clock to get {@link System#nanoTime} is taken where the
     * two lie closest.
     */
    void start() {
        offset = 0;
        long closest = Long.MAX_VALUE;
        long found = 0;
        for (int i = 0; i < 8; i++) {
            long before = System.nanoTime();
            write(0);
            stream.download(device.address(), host.segment(), 8);
            stream.await();
            long after = System.nanoTime();
            if (after - before < closest) {
                closest = after - before;
                found = before + (after - before) / 2 - at(0);
            }
        }
        offset = found;
        stream.observe(this);
    }

    /** Watches no longer. */
    void stop() {
        stream.observe(null);
        copies.clear();
        calls.clear();
    }

    @Override
    public void close() {
        stop();
        host.close();
        device.close();
    }
}
