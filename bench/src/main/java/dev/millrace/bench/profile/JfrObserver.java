package dev.millrace.bench.profile;

import dev.millrace.core.graph.Node;
import dev.millrace.core.profile.OpGroup;
import dev.millrace.core.profile.OpObserver;

/** Passes everything on, and commits a Flight Recorder event for each op while a recording runs. */
final class JfrObserver implements OpObserver {
    private final OpObserver next;

    JfrObserver(OpObserver next) {
        this.next = next;
    }

    @Override
    public void begin(int tokens, int context) {
        next.begin(tokens, context);
    }

    @Override
    public void op(Node node, long startNanos, long endNanos) {
        next.op(node, startNanos, endNanos);
        OpEvent event = new OpEvent();
        if (event.shouldCommit()) {
            event.path = node.path();
            event.op = node.op().getClass().getSimpleName();
            event.group = OpGroup.of(node.op()).name();
            event.micros = (endNanos - startNanos) * 1e-3;
            event.commit();
        }
    }

    @Override
    public void span(String lane, String name, long startNanos, long endNanos) {
        next.span(lane, name, startNanos, endNanos);
    }

    @Override
    public void end(long startNanos, long endNanos) {
        next.end(startNanos, endNanos);
    }
}
