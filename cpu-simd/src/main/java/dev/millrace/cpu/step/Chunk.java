package dev.millrace.cpu.step;

import dev.millrace.cpu.kv.KvCache;
import java.util.Arrays;

/**
 * The tokens that go through the graph together: pieces of one or more sequences, one after the other. Filled anew for
 * every pass; arrays grow when needed and are kept.
 */
public final class Chunk {
    private int pieces;
    private int tokens;
    private int selected;
    private KvCache[][] caches = new KvCache[1][];
    private int[] rowOf = new int[1];
    private int[] count = new int[1];
    private int[] start = new int[1];
    private int[] length = new int[1];
    private int[] token = new int[1];
    private int[] type = new int[1];
    private int[] position = new int[1];
    private int[] pieceOf = new int[1];
    private int[] selectedRow = new int[1];

    /** Empties it. */
    public void clear() {
        pieces = 0;
        tokens = 0;
        selected = 0;
    }

    /**
     * Appends {@code n} tokens of a sequence.
     *
     * @param kept the sequence's caches, one for each causal attention
     * @param ids token ids, from {@code from}
     * @param types token types or null for 0
     * @param at position of the first of them
     * @param end positions of the sequence once its whole slice is processed
     * @param firstSelected index among the {@code n} from which on rows are wanted as output
     */
    public void add(KvCache[] kept, int[] ids, int[] types, int from, int n, int at, int end, int firstSelected) {
        if (pieces == caches.length) {
            caches = Arrays.copyOf(caches, 2 * pieces);
            rowOf = Arrays.copyOf(rowOf, 2 * pieces);
            count = Arrays.copyOf(count, 2 * pieces);
            start = Arrays.copyOf(start, 2 * pieces);
            length = Arrays.copyOf(length, 2 * pieces);
        }
        if (tokens + n > token.length) {
            int size = Math.max(tokens + n, 2 * token.length);
            token = Arrays.copyOf(token, size);
            type = Arrays.copyOf(type, size);
            position = Arrays.copyOf(position, size);
            pieceOf = Arrays.copyOf(pieceOf, size);
            selectedRow = Arrays.copyOf(selectedRow, size);
        }
        for (int i = 0; i < n; i++) {
            token[tokens + i] = ids[from + i];
            type[tokens + i] = types == null ? 0 : types[from + i];
            position[tokens + i] = at + i;
            pieceOf[tokens + i] = pieces;
            if (i >= firstSelected) {
                selectedRow[selected++] = tokens + i;
            }
        }
        caches[pieces] = kept;
        rowOf[pieces] = tokens;
        count[pieces] = n;
        start[pieces] = at;
        length[pieces] = end;
        pieces++;
        tokens += n;
    }

    /** Pieces of sequences; each sequence has at most one. */
    public int pieces() {
        return pieces;
    }

    /** Tokens of all pieces. */
    public int tokens() {
        return tokens;
    }

    /** Tokens whose output is wanted. */
    public int selected() {
        return selected;
    }

    /** The row of the {@code i}-th wanted token. */
    public int selectedRow(int i) {
        return selectedRow[i];
    }

    /** The row of a piece's first token. */
    public int row(int piece) {
        return rowOf[piece];
    }

    /** Tokens of a piece. */
    public int count(int piece) {
        return count[piece];
    }

    /** Position of a piece's first token in its sequence. */
    public int start(int piece) {
        return start[piece];
    }

    /** Positions of a piece's sequence once its whole slice is processed. */
    public int length(int piece) {
        return length[piece];
    }

    /** The cache of a piece's sequence for one causal attention. */
    public KvCache cache(int piece, int slot) {
        return caches[piece][slot];
    }

    public int token(int row) {
        return token[row];
    }

    public int type(int row) {
        return type[row];
    }

    public int position(int row) {
        return position[row];
    }

    /** The piece that a row belongs to. */
    public int pieceOf(int row) {
        return pieceOf[row];
    }
}
