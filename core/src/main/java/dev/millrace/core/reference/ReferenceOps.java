package dev.millrace.core.reference;

import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.NormKind;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.Weights;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;

/** The meaning of every op on the rows of one batch. Fused ops are what their parts do, one after the other. */
final class ReferenceOps {
    private static final int ROWS_AT_ONCE = 64;

    private final Weights weights;
    private final List<Slice> slices;
    private final boolean causal;

    ReferenceOps(Weights weights, List<Slice> slices, boolean causal) {
        this.weights = weights;
        this.slices = slices;
        this.causal = causal;
    }

    double[][] run(Op op, List<double[][]> in) {
        return switch (op) {
            case Op.Embed e -> embed(e);
            case Op.EmbedSum sum -> sum.parts().stream().map(this::embed).reduce(ReferenceOps::add).orElseThrow();
            case Op.Norm n -> norm(n, in.getFirst());
            case Op.Linear l -> linear(l, in.getFirst());
            case Op.FusedLinear f -> fusedLinear(f, in);
            case Op.Rope r -> rope(r, in.getFirst());
            case Op.Attention a -> attention(a, in.get(0), in.get(1), in.get(2));
            case Op.SelfAttention s -> selfAttention(s, in.getFirst());
            case Op.Activation a -> activation(a.act(), in.getFirst());
            case Op.Gate g -> gate(g.act(), in.get(0), in.get(1));
            case Op.Add a -> add(in.get(0), in.get(1));
            case Op.Permute p -> permute(p, in.getFirst());
            case Op.Select s -> select(in.getFirst());
            case Op.Pool p -> pool(p.pooling(), in.getFirst());
        };
    }

    private double[][] embed(Op.Embed e) {
        Weight table = weights.get(e.table());
        List<double[]> rows = new ArrayList<>();
        float[] row = new float[Math.toIntExact(table.shape().columns())];
        for (Slice slice : slices) {
            for (int i = 0; i < slice.tokens().length; i++) {
                int index =
                        switch (e.index()) {
                            case TOKEN -> slice.tokens()[i];
                            case POSITION -> start(slice) + i;
                            case TOKEN_TYPE -> slice.types() == null ? 0 : slice.types()[i];
                        };
                table.decodeRows(index + e.offset(), 1, row, 0);
                rows.add(doubles(row));
            }
        }
        return rows.toArray(double[][]::new);
    }

    private double[][] norm(Op.Norm n, double[][] x) {
        float[] gain = weights.get(n.weight()).floats();
        float[] bias = n.bias().map(b -> weights.get(b).floats()).orElse(new float[gain.length]);
        return map(x, row -> {
            double[] y = new double[row.length];
            for (int g = 0; g < row.length; g += gain.length) {
                double mean = 0;
                if (n.kind() == NormKind.LAYER) {
                    for (int i = 0; i < gain.length; i++) {
                        mean += row[g + i] / gain.length;
                    }
                }
                double square = 0;
                for (int i = 0; i < gain.length; i++) {
                    square += (row[g + i] - mean) * (row[g + i] - mean) / gain.length;
                }
                double scale = 1 / Math.sqrt(square + n.epsilon());
                for (int i = 0; i < gain.length; i++) {
                    y[g + i] = (row[g + i] - mean) * scale * gain[i] + bias[i];
                }
            }
            return y;
        });
    }

    private double[][] linear(Op.Linear l, double[][] x) {
        Weight w = weights.get(l.weight());
        int outputs = Math.toIntExact(w.shape().rows());
        int inputs = Math.toIntExact(w.shape().columns());
        float[] bias = l.bias().map(b -> weights.get(b).floats()).orElse(new float[outputs]);
        double[][] y = new double[x.length][outputs];
        float[] block = new float[Math.min(ROWS_AT_ONCE, outputs) * inputs];
        for (int from = 0; from < outputs && x.length > 0; from += ROWS_AT_ONCE) {
            int count = Math.min(ROWS_AT_ONCE, outputs - from);
            w.decodeRows(from, count, block, 0);
            for (int r = 0; r < count; r++) {
                for (int t = 0; t < x.length; t++) {
                    double sum = 0;
                    for (int i = 0; i < inputs; i++) {
                        sum += x[t][i] * block[r * inputs + i];
                    }
                    y[t][from + r] = sum + bias[from + r];
                }
            }
        }
        return y;
    }

    private double[][] fusedLinear(Op.FusedLinear f, List<double[][]> in) {
        double[][] x = f.norm().map(n -> norm(n, in.getFirst())).orElse(in.getFirst());
        List<double[][]> parts = f.parts().stream().map(p -> linear(p, x)).toList();
        double[][] y;
        if (f.gated()) {
            y = gate(f.act().orElseThrow(), parts.get(0), parts.get(1));
        } else {
            double[][] joined = parts.stream().reduce(ReferenceOps::sideBySide).orElseThrow();
            y = f.act().map(act -> activation(act, joined)).orElse(joined);
        }
        return f.residual() ? add(y, in.get(1)) : y;
    }

    private double[][] rope(Op.Rope r, double[][] x) {
        double[][] y = new double[x.length][];
        int t = 0;
        for (Slice slice : slices) {
            double[] frequencies = r.frequencies().inverse(r.rotaryDim(), start(slice) + slice.tokens().length);
            for (int i = 0; i < slice.tokens().length; i++, t++) {
                y[t] = x[t].clone();
                for (int head = 0; head < x[t].length; head += r.headDim()) {
                    for (int pair = 0; pair < frequencies.length; pair++) {
                        int a = head + (r.interleaved() ? 2 * pair : pair);
                        int b = r.interleaved() ? a + 1 : a + frequencies.length;
                        double angle = (start(slice) + i) * frequencies[pair];
                        double cos = Math.cos(angle) * r.frequencies().magnitude();
                        double sin = Math.sin(angle) * r.frequencies().magnitude();
                        y[t][a] = x[t][a] * cos - x[t][b] * sin;
                        y[t][b] = x[t][b] * cos + x[t][a] * sin;
                    }
                }
            }
        }
        return y;
    }

    private double[][] attention(Op.Attention a, double[][] q, double[][] k, double[][] v) {
        double[][] y = new double[q.length][a.heads() * a.headDim()];
        int t = 0;
        for (Slice slice : slices) {
            int n = slice.tokens().length;
            int start = start(slice);
            double[][] keys = Arrays.copyOfRange(k, t, t + n);
            double[][] values = Arrays.copyOfRange(v, t, t + n);
            if (a.causal()) {
                ReferenceSession session = (ReferenceSession) slice.session();
                for (int i = 0; i < n; i++) {
                    session.keys(a.layer())[start + i] = session.kept(keys[i]);
                    session.values(a.layer())[start + i] = session.kept(values[i]);
                }
                keys = session.keys(a.layer());
                values = session.values(a.layer());
            }
            for (int i = 0; i < n; i++, t++) {
                int end = a.causal() ? start + i + 1 : n;
                int from = a.window() > 0 ? Math.max(0, start + i + 1 - a.window()) : 0;
                for (int h = 0; h < a.heads(); h++) {
                    attend(a, h, q[t], keys, values, from, end, y[t]);
                }
            }
        }
        return y;
    }

    private static void attend(
            Op.Attention a, int head, double[] q, double[][] keys, double[][] values, int from, int end, double[] y) {
        int at = head * a.headDim();
        int kvAt = head / (a.heads() / a.kvHeads()) * a.headDim();
        double[] scores = new double[end - from];
        double most = Double.NEGATIVE_INFINITY;
        for (int p = from; p < end; p++) {
            double dot = 0;
            for (int d = 0; d < a.headDim(); d++) {
                dot += q[at + d] * keys[p][kvAt + d];
            }
            scores[p - from] = dot * a.scale();
            most = Math.max(most, scores[p - from]);
        }
        double sum = 0;
        for (int p = from; p < end; p++) {
            double weight = Math.exp(scores[p - from] - most);
            sum += weight;
            for (int d = 0; d < a.headDim(); d++) {
                y[at + d] += weight * values[p][kvAt + d];
            }
        }
        for (int d = 0; d < a.headDim(); d++) {
            y[at + d] /= sum;
        }
    }

    private double[][] selfAttention(Op.SelfAttention s, double[][] qkv) {
        Op.Attention a = s.attention();
        int qWidth = a.heads() * a.headDim();
        int kvWidth = a.kvHeads() * a.headDim();
        double[][] q = map(qkv, row -> Arrays.copyOfRange(row, 0, qWidth));
        double[][] k = map(qkv, row -> Arrays.copyOfRange(row, qWidth, qWidth + kvWidth));
        double[][] v = map(qkv, row -> Arrays.copyOfRange(row, qWidth + kvWidth, qWidth + 2 * kvWidth));
        if (s.qNorm().isPresent()) {
            q = norm(s.qNorm().get(), q);
        }
        if (s.kNorm().isPresent()) {
            k = norm(s.kNorm().get(), k);
        }
        if (s.rope().isPresent()) {
            q = rope(s.rope().get(), q);
            k = rope(s.rope().get(), k);
        }
        return attention(a, q, k, v);
    }

    private double[][] permute(Op.Permute p, double[][] x) {
        float[] order = weights.get(p.order()).floats();
        return map(x, row -> {
            double[] y = new double[row.length];
            for (int i = 0; i < y.length; i++) {
                y[i] = row[(int) order[i]];
            }
            return y;
        });
    }

    private double[][] select(double[][] x) {
        List<double[]> kept = new ArrayList<>();
        int t = 0;
        for (Slice slice : slices) {
            int n = slice.tokens().length;
            for (int i = 0; i < n; i++, t++) {
                if (slice.rows() == Rows.ALL || (slice.rows() == Rows.LAST && i == n - 1)) {
                    kept.add(x[t]);
                }
            }
        }
        return kept.toArray(double[][]::new);
    }

    private double[][] pool(Op.Pooling pooling, double[][] x) {
        double[][] y = new double[slices.size()][];
        int t = 0;
        for (int s = 0; s < y.length; s++) {
            int n = slices.get(s).tokens().length;
            y[s] = x[t].clone();
            for (int i = 1; i < n && pooling != Op.Pooling.CLS; i++) {
                for (int d = 0; d < y[s].length; d++) {
                    double more = x[t + i][d];
                    y[s][d] = pooling == Op.Pooling.MAX ? Math.max(y[s][d], more) : y[s][d] + more;
                }
            }
            if (pooling == Op.Pooling.MEAN) {
                for (int d = 0; d < y[s].length; d++) {
                    y[s][d] /= n;
                }
            }
            t += n;
        }
        return y;
    }

    private static double[][] activation(Act act, double[][] x) {
        return map(x, row -> Arrays.stream(row).map(v -> act(act, v)).toArray());
    }

    private static double act(Act act, double x) {
        return switch (act) {
            case GELU -> 0.5 * x * (1 + Erf.erf(x / Math.sqrt(2)));
            case GELU_TANH -> 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
            case RELU -> Math.max(x, 0);
            case SILU -> x / (1 + Math.exp(-x));
            case TANH -> Math.tanh(x);
        };
    }

    private static double[][] gate(Act act, double[][] gate, double[][] up) {
        double[][] y = activation(act, gate);
        for (int t = 0; t < y.length; t++) {
            for (int i = 0; i < y[t].length; i++) {
                y[t][i] *= up[t][i];
            }
        }
        return y;
    }

    private static double[][] add(double[][] a, double[][] b) {
        double[][] y = new double[a.length][];
        for (int t = 0; t < y.length; t++) {
            y[t] = a[t].clone();
            for (int i = 0; i < y[t].length; i++) {
                y[t][i] += b[t][i];
            }
        }
        return y;
    }

    private static double[][] sideBySide(double[][] a, double[][] b) {
        double[][] y = new double[a.length][];
        for (int t = 0; t < y.length; t++) {
            y[t] = Arrays.copyOf(a[t], a[t].length + b[t].length);
            System.arraycopy(b[t], 0, y[t], a[t].length, b[t].length);
        }
        return y;
    }

    private static double[][] map(double[][] rows, UnaryOperator<double[]> change) {
        return Arrays.stream(rows).map(change).toArray(double[][]::new);
    }

    private static double[] doubles(float[] row) {
        double[] wide = new double[row.length];
        for (int i = 0; i < row.length; i++) {
            wide[i] = row[i];
        }
        return wide;
    }

    private int start(Slice slice) {
        return causal ? slice.session().position() : 0;
    }
}
