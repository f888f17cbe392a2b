package dev.millrace.core.graph;

/**
 * The result of a node: an activation matrix of float32, one row per token (or per wanted row, or per sequence, see
 * {@link Rows}), {@code width} columns.
 */
public record Value(int id, int width, Rows rows) {
    /** What the rows of an activation stand for. */
    public enum Rows {
        /** One row for every token of the batch. */
        TOKENS,
        /** One row for every token whose output was asked for. */
        SELECTED,
        /** One row for every sequence of the batch. */
        SEQUENCES
    }
}
