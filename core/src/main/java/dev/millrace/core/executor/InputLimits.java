package dev.millrace.core.executor;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.Weights;
import java.util.List;

/**
 * What a graph's embedding tables and caches allow as input; executors check a batch with it before they touch
 * anything.
 *
 * @param tokens ids are below it
 * @param positions positions are below it; {@link Integer#MAX_VALUE} without a position table
 * @param types token types are below it
 * @param causal whether sessions grow
 */
public record InputLimits(int tokens, int positions, int types, boolean causal) {

    /** The limits of {@code graph}, from the rows of the tables it looks up. */
    public static InputLimits of(Graph graph, Weights weights) {
        int[] limits = {Integer.MAX_VALUE, Integer.MAX_VALUE, Integer.MAX_VALUE};
        for (Node node : graph.nodes()) {
            List<Op.Embed> tables =
                    switch (node.op()) {
                        case Op.Embed e -> List.of(e);
                        case Op.EmbedSum sum -> sum.parts();
                        default -> List.of();
                    };
            for (Op.Embed e : tables) {
                long rows = weights.get(e.table()).shape().rows() - e.offset();
                int index = e.index().ordinal();
                limits[index] = (int) Math.min(limits[index], rows);
            }
        }
        return new InputLimits(limits[0], limits[1], limits[2], graph.causal());
    }

    /**
     * Checks every slice; does not allocate.
     *
     * @throws MillraceException when a session is not {@code program}'s, is closed, is in the batch twice or has no room, or a token,
     *     a position or a type is out of range
     */
    public void check(Program program, Batch batch) {
        checkRoom(program, batch);
        checkIds(batch);
    }

    /**
     * The part of {@link #check} that takes no longer for more tokens: sessions, room and positions.
     *
     * @throws MillraceException when a session is not {@code program}'s, is closed, is in the batch twice or has no room, or a
     *     position is out of range
     */
    public void checkRoom(Program program, Batch batch) {
        List<Slice> slices = batch.slices();
        for (int s = 0; s < slices.size(); s++) {
            Slice slice = slices.get(s);
            Session session = slice.session();
            if (session.program() != program) {
                throw new MillraceException("slice " + s + ": its session belongs to another program");
            }
            if (!session.isOpen()) {
                throw new MillraceException("slice " + s + ": its session is closed");
            }
            for (int other = 0; other < s; other++) {
                if (slices.get(other).session() == session) {
                    throw new MillraceException("slices " + other + " and " + s + " are of the same session");
                }
            }
            long end = (causal ? session.position() : 0) + (long) slice.tokens().length;
            if (end > session.capacity()) {
                throw new MillraceException("slice " + s + ": position " + end
                        + " is past the session's capacity of " + session.capacity() + " tokens; open a larger session");
            }
            if (end > positions) {
                throw new MillraceException("slice " + s + ": position " + end + " is past the model's " + positions
                        + " positions; use fewer tokens");
            }
        }
    }

    /**
     * The other part: token ids and types, one by one. An executor that never reads past a table may do this while the
     * batch is at work, as long as a refused batch leaves no trace.
     *
     * @throws MillraceException when a token or a type is out of range
     */
    public void checkIds(Batch batch) {
        List<Slice> slices = batch.slices();
        for (int s = 0; s < slices.size(); s++) {
            Slice slice = slices.get(s);
            range(s, "token id", slice.tokens(), tokens);
            if (slice.types() != null) {
                range(s, "token type", slice.types(), types);
            }
        }
    }

    private static void range(int slice, String what, int[] found, int limit) {
        for (int i = 0; i < found.length; i++) {
            int id = found[i];
            if (id < 0 || id >= limit) {
                throw new MillraceException("slice " + slice + ", token " + i + ": " + what + " " + id
                        + " is outside the model's 0 to " + (limit - 1));
            }
        }
    }
}
