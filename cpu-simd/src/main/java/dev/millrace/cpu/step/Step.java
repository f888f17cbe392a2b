package dev.millrace.cpu.step;

/** One node of the graph, made ready to run: weights laid out, inputs and outputs in their buffers. */
public interface Step {
    /** Makes room for a chunk; by the caller, before the workers start. The only place where a step may allocate. */
    default void ready(Chunk chunk) {}

    /**
     * Does {@code worker}'s share. All workers call it, each once; a barrier follows. Allocates nothing.
     *
     * @param first which of the chunk's rows is row 0 of the buffers; 0 but for the rows after {@code Select}, which
     *     are computed in groups
     * @param rows rows to compute
     */
    void run(Chunk chunk, int first, int rows, int worker, int workers);

    /** Where {@code worker}'s share of {@code n} things starts when they are dealt in runs of {@code unit}. */
    static int share(int n, int unit, int worker, int workers) {
        long units = (n + unit - 1) / unit;
        return (int) Math.min(n, units * worker / workers * unit);
    }
}
