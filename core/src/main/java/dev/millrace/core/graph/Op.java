package dev.millrace.core.graph;

import java.util.List;
import java.util.Optional;

/**
 * What a node does: data without behaviour. Executors switch over this sealed type exhaustively, so the compiler names
 * the op that an executor has not implemented. Weights are referred to by name ({@link
 * dev.millrace.core.tensor.Weights}). The meaning of each op is given by the reference executor.
 *
 * <p>The ops below {@link Fused} stand for several others; {@link dev.millrace.core.graph.pass.Fusion} makes them, only
 * where the executor supports them.
 */
public sealed interface Op {

    /** Which of a token's numbers looks up an embedding. */
    enum Index {
        TOKEN,
        POSITION,
        TOKEN_TYPE
    }

    /** Layer normalization (Ba et al., 2016) or root mean square normalization (Zhang and Sennrich, 2019). */
    enum NormKind {
        LAYER,
        RMS
    }

    /** How the tokens of a sequence become one vector. */
    enum Pooling {
        CLS,
        MEAN,
        MAX
    }

    /**
     * Looks up a row of {@code table} for every token: [tokens] to [tokens, width].
     *
     * @param offset added to the index (RoBERTa's positions start at 2)
     */
    record Embed(Index index, String table, int offset) implements Op {}

    /**
     * Normalizes every {@code weight}-sized group of each row over its mean and variance (LAYER) or mean square (RMS),
     * then multiplies by {@code weight} and adds {@code bias}. The group is the whole row, or one head where the weight
     * is as long as a head.
     */
    record Norm(NormKind kind, String weight, Optional<String> bias, float epsilon) implements Op {}

    /** y = x W^T + b; {@code weight} is [out, in], {@code bias} [out]. */
    record Linear(String weight, Optional<String> bias) implements Op {}

    /**
     * Rotary position embedding (Su et al., 2021) on every head of the row: the first {@code rotaryDim} elements of
     * each {@code headDim} are rotated by position * frequency.
     *
     * @param interleaved pairs are (2i, 2i+1) as in GPT-J and ggml's llama; else (i, i + rotaryDim/2) as in Hugging Face
     */
    record Rope(int headDim, int rotaryDim, boolean interleaved, RopeFrequencies frequencies) implements Op {}

    /**
     * Scaled dot-product attention of q [tokens, heads * headDim] over this sequence's keys and values [tokens, kvHeads
     * * headDim]; head h reads key/value head h / (heads / kvHeads). Causal attention appends k and v to the session's
     * cache first and sees every position up to its own; otherwise every token sees its whole slice and nothing is kept.
     *
     * @param layer which cache of the session is its own
     * @param window how many positions back a token sees, its own included; 0 for all
     */
    record Attention(int layer, int heads, int kvHeads, int headDim, float scale, boolean causal, int window)
            implements Op {}

    /** y = act(x). */
    record Activation(Act act) implements Op {}

    /** y = act(gate) * up, of two inputs of the same width: gate, then up. */
    record Gate(Act act) implements Op {}

    /** y = a + b. */
    record Add() implements Op {}

    /** y[i] = x[order[i]] for every row; {@code order} holds whole numbers. Resolves GPTQ's act-order. */
    record Permute(String order) implements Op {}

    /** Keeps the rows whose outputs the batch asked for. */
    record Select() implements Op {}

    /** One row per sequence. */
    record Pool(Pooling pooling) implements Op {}

    /** Ops that stand for several others. */
    sealed interface Fused extends Op {}

    /** The sum of several embeddings. */
    record EmbedSum(List<Embed> parts) implements Fused {
        public EmbedSum {
            parts = List.copyOf(parts);
        }
    }

    /**
     * {@code y = epilogue(norm(x) [W1; W2; ...]^T + [b1; b2; ...])}.
     *
     * @param norm applied to the input first
     * @param parts linear maps of one input, their outputs side by side
     * @param act applied to the result; where {@code gated}, there are two parts, gate and up, and y = act(gate) * up
     * @param residual a second input of the output's width is added at the end
     */
    record FusedLinear(
            Optional<Norm> norm, List<Linear> parts, Optional<Act> act, boolean gated, boolean residual)
            implements Fused {
        public FusedLinear {
            parts = List.copyOf(parts);
            if (parts.isEmpty() || (gated && (parts.size() != 2 || act.isEmpty()))) {
                throw new IllegalArgumentException("a gated linear has two parts and an activation");
            }
        }
    }

    /** Attention over one input that holds q, k and v side by side, with the norms and the rotation of q and k before it. */
    record SelfAttention(Attention attention, Optional<Norm> qNorm, Optional<Norm> kNorm, Optional<Rope> rope)
            implements Fused {}
}
