package dev.millrace.core.reference;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Op;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;

/** Tokens and, for each attention layer, keys and values as [position][kvHeads * headDim], rounded as they are kept. */
final class ReferenceSession implements Session {
    private final ReferenceProgram program;
    private final int[] tokens;
    private final KvFormat kv;
    private final Map<Integer, double[][]> keys = new HashMap<>();
    private final Map<Integer, double[][]> values = new HashMap<>();
    private int position;

    ReferenceSession(ReferenceProgram program, int capacity, KvFormat kv) {
        this.program = program;
        this.tokens = new int[capacity];
        this.kv = kv;
        for (Op.Attention attention : program.graph().attentions()) {
            keys.put(attention.layer(), new double[capacity][]);
            values.put(attention.layer(), new double[capacity][]);
        }
    }

    double[][] keys(int layer) {
        return keys.get(layer);
    }

    double[][] values(int layer) {
        return values.get(layer);
    }

    /** What is left of {@code row} once it is kept in the cache's format. */
    double[] kept(double[] row) {
        double[] kept = new double[row.length];
        for (int i = 0; i < row.length; i++) {
            float x = (float) row[i];
            kept[i] = kv == KvFormat.F16 ? Float.float16ToFloat(Float.floatToFloat16(x)) : x;
        }
        return kept;
    }

    void append(int[] more) {
        System.arraycopy(more, 0, tokens, position, more.length);
        position += more.length;
    }

    @Override
    public Program program() {
        return program;
    }

    @Override
    public int capacity() {
        return tokens.length;
    }

    @Override
    public int position() {
        return position;
    }

    @Override
    public int token(int at) {
        return tokens[Objects.checkIndex(at, position)];
    }

    @Override
    public void truncate(int to) {
        position = Objects.checkIndex(to, position + 1);
    }

    @Override
    public void close() {
        keys.clear();
        values.clear();
    }
}
