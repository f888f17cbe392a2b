package dev.millrace.cuda;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Value;
import java.util.ArrayList;
import java.util.List;

/** Cuts a batch into chunks of as many tokens as a program processes at once. */
final class Chunks {
    /** Tokens {@code [from, from + count)} of a slice. */
    private record Piece(Slice slice, int from, int count) {
        boolean endsSlice() {
            return from + count == slice.tokens().length;
        }

        int selected() {
            return switch (slice.rows()) {
                case NONE -> 0;
                case LAST -> endsSlice() ? 1 : 0;
                case ALL -> count;
            };
        }
    }

    /** Rows {@code [from, from + count)} of an activation. */
    record Run(int from, int count) {}

    private final Batch batch;
    private final int most;
    private final boolean whole;
    private final boolean causal;
    private final List<Piece> pieces = new ArrayList<>();
    private int slice;
    private int offset;
    private int rows;
    private int selected;

    /**
     * @param most tokens of a chunk; a slice that must stay whole may be longer
     * @param whole whether slices must not be cut
     * @param causal whether a slice continues its session
     */
    Chunks(Batch batch, int most, boolean whole, boolean causal) {
        this.batch = batch;
        this.most = most;
        this.whole = whole;
        this.causal = causal;
    }

    /** Goes on to the next chunk; false when there is none. */
    boolean next() {
        if (slice == batch.slices().size()) {
            return false;
        }
        pieces.clear();
        rows = 0;
        selected = 0;
        int room = most;
        while (slice < batch.slices().size() && room > 0) {
            Slice s = batch.slices().get(slice);
            int left = s.tokens().length - offset;
            int count = whole ? left : Math.min(left, room);
            if (count > room && !pieces.isEmpty()) {
                break;
            }
            Piece piece = new Piece(s, offset, count);
            pieces.add(piece);
            rows += count;
            selected += piece.selected();
            room -= count;
            offset += count;
            if (offset == s.tokens().length) {
                slice++;
                offset = 0;
            }
        }
        return true;
    }

    int rows() {
        return rows;
    }

    int selected() {
        return selected;
    }

    int sequences() {
        return pieces.size();
    }

    /** Positions before the first slice. */
    int context() {
        return base(pieces.getFirst());
    }

    private int base(Piece piece) {
        return causal ? piece.slice.session().position() + piece.from : 0;
    }

    /** Whether nothing comes after it. */
    boolean last() {
        return slice == batch.slices().size();
    }

    /** @param draws whether a token is drawn after it */
    Shape shape(boolean draws) {
        int longest = 0;
        int reach = 0;
        boolean f32 = false;
        boolean f16 = false;
        for (Piece piece : pieces) {
            longest = Math.max(longest, piece.count);
            reach = Math.max(reach, base(piece) + piece.count);
            KvFormat kv = ((CudaSession) piece.slice.session()).kv();
            f32 |= causal && kv == KvFormat.F32;
            f16 |= causal && kv == KvFormat.F16;
        }
        boolean singles = longest == 1;
        return new Shape(
                batch.output(),
                rows(),
                sequences(),
                selected(),
                singles ? 1 : Format.roundUp(longest, 64),
                singles ? Shape.reach(reach) : 0,
                f32,
                f16,
                0,
                false,
                draws);
    }

    /** Describes the chunk to the device. */
    void describe(BatchMessage message) {
        message.begin(pieces.size());
        int row = 0;
        int kept = 0;
        for (int s = 0; s < pieces.size(); s++) {
            Piece piece = pieces.get(s);
            Slice of = piece.slice;
            int base = base(piece);
            int length = base - piece.from + of.tokens().length;
            CudaSession session = (CudaSession) of.session();
            int wanted = piece.selected();
            message.slice(
                    s, session, row, of.tokens(), of.types(), piece.from, piece.count, base, length, wanted, kept, rows);
            row += piece.count;
            kept += wanted;
        }
    }

    /** The rows to give out, of an activation whose rows stand for {@code meaning}. */
    List<Run> wanted(Value.Rows meaning) {
        return switch (meaning) {
            case SELECTED -> List.of(new Run(0, selected()));
            case SEQUENCES -> List.of(new Run(0, sequences()));
            case TOKENS -> {
                List<Run> runs = new ArrayList<>();
                int end = 0;
                for (Piece piece : pieces) {
                    end += piece.count;
                    runs.add(new Run(end - piece.selected(), piece.selected()));
                }
                yield runs;
            }
        };
    }
}
