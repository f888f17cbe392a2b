package dev.millrace.core.profile;

import dev.millrace.core.graph.Node;

/** Receives the time of every op while a program is observed. */
public interface OpObserver {
    /** The lane of the calling thread. */
    String HOST = "host";
    /** The name of the span in which the next token is drawn. */
    String SAMPLE = "sample";

    /** A forward pass or decode step of {@code tokens} tokens starts; {@code context} positions precede them. */
    void begin(int tokens, int context);

    /**
     * A node ran.
     *
     * @param startNanos {@link System#nanoTime} clock
     * @param endNanos not before {@code startNanos}
     */
    void op(Node node, long startNanos, long endNanos);

    /**
     * Something that is no node ran, for traces and for the remainder: a worker's share of a node, a copy, a launch, a
     * sampler.
     *
     * @param lane where it ran: {@value #HOST}, {@code worker 1}, {@code stream}
     */
    void span(String lane, String name, long startNanos, long endNanos);

    /** The step that {@link #begin} announced is over. */
    void end(long startNanos, long endNanos);
}
