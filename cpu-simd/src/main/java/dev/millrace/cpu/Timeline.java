package dev.millrace.cpu;

import dev.millrace.core.graph.Node;
import dev.millrace.core.profile.OpObserver;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * When nodes ended, by worker 0's clock as it leaves the barrier behind each, and how long each worker was busy.
 * Written while workers run, told to the observer when they are done.
 */
final class Timeline {
    private final List<Node> nodes = new ArrayList<>();
    private final long[][] starts;
    private final long[][] ends;
    private final int[] events;
    private final String[] lanes;
    private long began;
    private int tokens;
    private int context;
    private final List<Long> regionStarts = new ArrayList<>();
    private final List<Integer> regionEvents = new ArrayList<>();
    private final List<Integer> regionWorkers = new ArrayList<>();

    Timeline(int workers) {
        starts = new long[workers][64];
        ends = new long[workers][64];
        events = new int[workers];
        lanes = new String[workers];
        for (int w = 0; w < workers; w++) {
            lanes[w] = "worker " + w;
        }
    }

    /** A forward starts; by the caller. */
    void begin(int tokens, int context) {
        this.tokens = tokens;
        this.context = context;
        nodes.clear();
        regionStarts.clear();
        regionEvents.clear();
        regionWorkers.clear();
        Arrays.fill(events, 0);
        began = System.nanoTime();
    }

    /** A region is to start; by the caller. Workers that had no part in the one before go on with those that had. */
    void region() {
        Arrays.fill(events, nodes.size());
    }

    /** A region starts; by worker 0. */
    void start(int workers) {
        regionStarts.add(System.nanoTime());
        regionEvents.add(nodes.size());
        regionWorkers.add(workers);
    }

    /** A worker has done its share of a node. */
    void done(int worker) {
        int event = events[worker];
        if (event + 1 >= ends[worker].length) {
            ends[worker] = Arrays.copyOf(ends[worker], 2 * (event + 1));
            starts[worker] = Arrays.copyOf(starts[worker], 2 * (event + 1));
        }
        ends[worker][event] = System.nanoTime();
    }

    /** A worker leaves the barrier behind {@code node}. */
    void passed(int worker, Node node) {
        if (worker == 0) {
            nodes.add(node);
        }
        starts[worker][++events[worker]] = System.nanoTime();
    }

    /** Tells what was written since {@link #begin}; the forward ends now. */
    void report(OpObserver observer) {
        long ended = System.nanoTime();
        observer.begin(tokens, context);
        int region = -1;
        for (int i = 0; i < nodes.size(); i++) {
            long start = starts[0][i];
            if (region + 1 < regionEvents.size() && regionEvents.get(region + 1) == i) {
                start = regionStarts.get(++region);
            }
            observer.op(nodes.get(i), start, starts[0][i + 1]);
            for (int w = 0; w < regionWorkers.get(region); w++) {
                long from = Math.max(start, starts[w][i]);
                observer.span(lanes[w], nodes.get(i).path(), from, Math.max(from, ends[w][i]));
            }
        }
        observer.end(began, ended);
    }
}
