package dev.millrace.core.executor;

import dev.millrace.core.graph.Graph;
import java.util.List;

/**
 * What one forward processes: slices of several sequences side by side. No session may appear twice.
 *
 * @param output the name of the graph's output that is wanted
 */
public record Batch(List<Slice> slices, String output) {
    /** Which tokens of a slice give a row of output. */
    public enum Rows {
        NONE,
        LAST,
        ALL
    }

    /**
     * Tokens to append to a session. The array is read during forward and not kept.
     *
     * @param types token types (segment ids) of the same length, or null for all 0; only encoders have them
     */
    public record Slice(Session session, int[] tokens, int[] types, Rows rows) {
        public Slice(Session session, int[] tokens, Rows rows) {
            this(session, tokens, null, rows);
        }

        public Slice {
            if (tokens.length == 0) {
                throw new IllegalArgumentException("a slice holds at least one token");
            }
            if (types != null && types.length != tokens.length) {
                throw new IllegalArgumentException(types.length + " token types for " + tokens.length + " tokens");
            }
        }

        public int rowCount() {
            return switch (rows) {
                case NONE -> 0;
                case LAST -> 1;
                case ALL -> tokens.length;
            };
        }
    }

    public Batch {
        slices = List.copyOf(slices);
        if (slices.isEmpty()) {
            throw new IllegalArgumentException("a batch holds at least one slice");
        }
    }

    /** One sequence, logits wanted. */
    public static Batch of(Session session, int[] tokens, Rows rows) {
        return new Batch(List.of(new Slice(session, tokens, rows)), Graph.LOGITS);
    }

    /** Rows of output, for outputs that have one per wanted token. */
    public int rows() {
        int rows = 0;
        for (int i = 0; i < slices.size(); i++) {
            rows = Math.addExact(rows, slices.get(i).rowCount());
        }
        return rows;
    }

    /** Tokens of all slices. */
    public int tokens() {
        int tokens = 0;
        for (int i = 0; i < slices.size(); i++) {
            tokens = Math.addExact(tokens, slices.get(i).tokens().length);
        }
        return tokens;
    }
}
