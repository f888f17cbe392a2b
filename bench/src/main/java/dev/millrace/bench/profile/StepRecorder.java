package dev.millrace.bench.profile;

import dev.millrace.core.graph.Node;
import dev.millrace.core.profile.OpObserver;
import java.util.ArrayList;
import java.util.List;

/** Keeps what a program reports while it is observed, step by step. */
public final class StepRecorder implements OpObserver {
    /** The lane of nodes. */
    public static final String OPS = "ops";

    private final List<Step> steps = new ArrayList<>();

    /** A node or span that ran; {@code node} is null for spans. Times are of {@link System#nanoTime}. */
    public record Event(Node node, String lane, String name, long startNanos, long endNanos) {
        double micros() {
            return (endNanos - startNanos) * 1e-3;
        }
    }

    /** What ran from one begin to the next; drawing a token, after the step's end, is still its own. */
    public record Step(int tokens, int context, List<Event> events) {}

    @Override
    public void begin(int tokens, int context) {
        steps.add(new Step(tokens, context, new ArrayList<>()));
    }

    @Override
    public void op(Node node, long startNanos, long endNanos) {
        steps.getLast().events().add(new Event(node, OPS, node.path(), startNanos, endNanos));
    }

    @Override
    public void span(String lane, String name, long startNanos, long endNanos) {
        steps.getLast().events().add(new Event(null, lane, name, startNanos, endNanos));
    }

    @Override
    public void end(long startNanos, long endNanos) {}

    public List<Step> steps() {
        return steps;
    }

    public void clear() {
        steps.clear();
    }
}
