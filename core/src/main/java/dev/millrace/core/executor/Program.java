package dev.millrace.core.executor;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.profile.OpObserver;
import java.lang.foreign.MemorySegment;

/**
 * A graph compiled for a device. One forward or decode runs at a time; a program is confined to one caller at a time,
 * not to one thread.
 */
public interface Program extends AutoCloseable {
    /** The graph that was compiled, as it runs (fused). */
    Graph graph();

    /** Whether the weights it was compiled from must stay open because it reads them in place. */
    boolean keepsWeights();

    /**
     * A sequence of its own, with room for {@code capacity} tokens.
     *
     * @throws dev.millrace.core.MillraceException when memory does not suffice, with bytes needed and found
     */
    Session newSession(int capacity, KvFormat kv);

    /**
     * Runs the tokens of every slice, appends them to their sessions, and writes {@link Batch#output} row by row, in
     * the order of the slices, to {@code target} as float32 ({@code batch.rows()} times the output's width; for an
     * output per sequence, one row a slice). Results do not depend on what else is in the batch.
     *
     * @param target native or heap memory of at least that size; {@link MemorySegment#NULL} when no row is wanted, or
     *     when the rows are to be computed but stay on the device (for measuring)
     * @throws dev.millrace.core.MillraceException when a slice passes its session's capacity or holds an unknown token
     *     (nothing is appended then)
     */
    void forward(Batch batch, MemorySegment target);

    /** What it holds in device memory. */
    MemoryUse memory();

    /** Counts of what was asked of the device since compile. */
    Counters counters();

    /**
     * Reports the time of every op of later forwards and decode steps to {@code observer}; null stops it. The time
     * between two ops is not hidden: an op ends where the next one starts or earlier.
     */
    void observe(OpObserver observer);

    /** Who observes; null when nobody does. */
    OpObserver observer();

    @Override
    void close();
}
