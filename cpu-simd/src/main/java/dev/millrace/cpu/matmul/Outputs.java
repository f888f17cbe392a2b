package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.F;
import static dev.millrace.cpu.matmul.Panel.LANES;
import static dev.millrace.cpu.matmul.Panel.ROWS;

import jdk.incubator.vector.FloatVector;

/** What follows the sums of a panel, [token][row of the panel], of which {@code n} rows are outputs. */
final class Outputs {
    /** Added to any float it leaves that float, negative zero included. */
    private static final float NOTHING = -0f;

    private Outputs() {}

    /** {@code sums[t][r] += bias[at + r]}; nothing without a bias. */
    static void add(float[] sums, int tokens, int n, float[] bias, int at) {
        if (bias == null) {
            return;
        }
        if (byVectors(n, tokens)) {
            addVectors(sums, tokens, bias, at);
            return;
        }
        for (int t = 0; t < tokens; t++) {
            for (int r = 0; r < n; r++) {
                sums[t * ROWS + r] += bias[at + r];
            }
        }
    }

    /**
     * {@code y[first + t][output + r] = sums[t][r] + bias[output + r] + residual[first + t][output + r]}, the last two where not
     * null. In blocks, of {@code all} tokens, {@code first} is the first token of one and there is no residual.
     */
    static void write(
            float[] sums, int first, int tokens, int all, int n, float[] bias, int output, Rows residual, Rows y) {
        if (y.blocks()) {
            add(sums, tokens, n, bias, output);
            for (int t = 0; t < tokens; t += Activations.BLOCK) {
                if (byVectors(n, Activations.BLOCK)) {
                    y.turn(all, first + t, output, ROWS, sums, t * ROWS, ROWS);
                } else {
                    turn(sums, t * ROWS, n, y.data(), y.inBlock(all, first + t, output));
                }
            }
            return;
        }
        if (byVectors(n, tokens)) {
            writeVectors(sums, first, tokens, bias, output, residual, y);
            return;
        }
        add(sums, tokens, n, bias, output);
        for (int t = 0; t < tokens; t++) {
            int out = y.at(first + t) + output;
            if (residual == null) {
                System.arraycopy(sums, t * ROWS, y.data(), out, n);
            } else {
                int in = residual.at(first + t) + output;
                for (int r = 0; r < n; r++) {
                    y.data()[out + r] = sums[t * ROWS + r] + residual.data()[in + r];
                }
            }
        }
    }

    private static void turn(float[] sums, int at, int n, float[] y, int out) {
        for (int r = 0; r < n; r++) {
            for (int t = 0; t < Activations.BLOCK; t++) {
                y[out + r * Activations.BLOCK + t] = sums[at + t * ROWS + r];
            }
        }
    }

    private static boolean byVectors(int n, int tokens) {
        return n == ROWS && tokens > 1 && !PlainProduct.AROUND.cold((long) n * tokens);
    }

    /** A whole panel, two vectors a token. */
    static void addVectors(float[] sums, int tokens, float[] bias, int at) {
        FloatVector b0 = FloatVector.fromArray(F, bias, at);
        FloatVector b1 = FloatVector.fromArray(F, bias, at + LANES);
        for (int i = 0; i < tokens * ROWS; i += ROWS) {
            FloatVector.fromArray(F, sums, i).add(b0).intoArray(sums, i);
            FloatVector.fromArray(F, sums, i + LANES).add(b1).intoArray(sums, i + LANES);
        }
    }

    /** A whole panel, two vectors a token. */
    static void writeVectors(float[] sums, int first, int tokens, float[] bias, int output, Rows residual, Rows y) {
        FloatVector b0 = FloatVector.broadcast(F, NOTHING);
        FloatVector b1 = b0;
        if (bias != null) {
            b0 = FloatVector.fromArray(F, bias, output);
            b1 = FloatVector.fromArray(F, bias, output + LANES);
        }
        float[] to = y.data();
        int out = y.at(first) + output;
        if (residual == null) {
            for (int t = 0; t < tokens; t++, out += y.stride()) {
                FloatVector.fromArray(F, sums, t * ROWS).add(b0).intoArray(to, out);
                FloatVector.fromArray(F, sums, t * ROWS + LANES).add(b1).intoArray(to, out + LANES);
            }
            return;
        }
        float[] from = residual.data();
        int in = residual.at(first) + output;
        for (int t = 0; t < tokens; t++, in += residual.stride(), out += y.stride()) {
            FloatVector.fromArray(F, sums, t * ROWS).add(b0).add(FloatVector.fromArray(F, from, in)).intoArray(to, out);
            FloatVector.fromArray(F, sums, t * ROWS + LANES)
                    .add(b1)
                    .add(FloatVector.fromArray(F, from, in + LANES))
                    .intoArray(to, out + LANES);
        }
    }
}
