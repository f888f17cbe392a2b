package dev.millrace.core.reference;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.TokenSession;
import dev.millrace.core.graph.Op;
import java.util.HashMap;
import java.util.Map;

/** For each attention layer, keys and values as [position][kvHeads * headDim], rounded as they are kept. */
final class ReferenceSession extends TokenSession {
    private final KvFormat kv;
    private final Map<Integer, double[][]> keys = new HashMap<>();
    private final Map<Integer, double[][]> values = new HashMap<>();

    ReferenceSession(ReferenceProgram program, int capacity, KvFormat kv) {
        super(program, capacity);
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

    @Override
    protected void release() {
        keys.clear();
        values.clear();
    }
}
