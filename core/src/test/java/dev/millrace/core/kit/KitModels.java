package dev.millrace.core.kit;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.Index;
import dev.millrace.core.graph.Op.NormKind;
import dev.millrace.core.graph.RopeFrequencies;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.pass.Fusion;
import dev.millrace.core.tensor.WeightFormat;

/** Whole models with random weights: one in GPT-2's style, one in Llama's. */
public final class KitModels {
    private KitModels() {}

    /** Learned positions, layer norms, biases, GELU. */
    public static GraphOf.Built gpt(WeightFormat format) {
        return gpt(format, 96, 3, 256);
    }

    /** The same with heads of 64 and a stream of whole tiles of 128, which devices may cut matrices into. */
    public static GraphOf.Built gptOfTiles(WeightFormat format) {
        return gpt(format, 256, 4, 320);
    }

    /** The same with two heads and few hidden units: for what asks about steps and not about products. */
    public static GraphOf.Built gptSmall(WeightFormat format) {
        return gpt(format, 64, 2, 16);
    }

    /** The same with two heads of 128. */
    public static GraphOf.Built gptOfWideHeads(WeightFormat format) {
        return gpt(format, 256, 2, 320);
    }

    private static float scale(int headDim) {
        return (float) (1 / Math.sqrt(headDim));
    }

    private static GraphOf.Built gpt(WeightFormat format, int hidden, int heads, int mlp) {
        GraphOf g = new GraphOf(21);
        Value tokens = g.add("embed.tokens", new Op.Embed(Index.TOKEN, g.matrix(GraphOf.VOCABULARY, hidden, WeightFormat.F32), 0));
        Value positions = g.add("embed.positions", new Op.Embed(Index.POSITION, g.matrix(120, hidden, WeightFormat.F32), 0));
        Value x = g.add("embed", new Op.Add(), tokens, positions);
        for (int n = 0; n < 2; n++) {
            String layer = "layer." + n + ".";
            Value h = g.add(layer + "attn.norm", g.norm(NormKind.LAYER, hidden), x);
            Value q = g.add(layer + "attn.q", g.linear(hidden, hidden, format, true), h);
            Value k = g.add(layer + "attn.k", g.linear(hidden, hidden, format, true), h);
            Value v = g.add(layer + "attn.v", g.linear(hidden, hidden, format, true), h);
            Value a = g.add(layer + "attn.attention", new Op.Attention(n, heads, heads, hidden / heads, scale(hidden / heads), true, 0), q, k, v);
            x = g.add(layer + "attn.add", new Op.Add(), g.add(layer + "attn.o", g.linear(hidden, hidden, format, true), a), x);
            h = g.add(layer + "mlp.norm", g.norm(NormKind.LAYER, hidden), x);
            h = g.add(layer + "mlp.up", g.linear(mlp, hidden, format, true), h);
            h = g.add(layer + "mlp.act", new Op.Activation(Act.GELU_TANH), h);
            x = g.add(layer + "mlp.add", new Op.Add(), x, g.add(layer + "mlp.down", g.linear(hidden, mlp, format, true), h));
        }
        x = g.add("select", new Op.Select(), x);
        x = g.add("final_norm", g.norm(NormKind.LAYER, hidden), x);
        return g.done(g.add("lm_head", g.linear(GraphOf.VOCABULARY, hidden, format, false), x));
    }

    /** Rotary positions, grouped heads, q/k norms, gated SiLU. */
    public static GraphOf.Built llama(WeightFormat format) {
        return llama(format, 64, 4, 32, 160);
    }

    /** The same with heads of 64 and a stream of whole tiles of 128, see {@link #gptOfTiles}. */
    public static GraphOf.Built llamaOfTiles(WeightFormat format) {
        return llama(format, 256, 4, 64, 288);
    }

    /** The same with two heads and few hidden units, see {@link #gptSmall}. */
    public static GraphOf.Built llamaSmall(WeightFormat format) {
        return llama(format, 64, 2, 32, 16);
    }

    /** The same with heads of 128, which together are wider than the stream. */
    public static GraphOf.Built llamaOfWideHeads(WeightFormat format) {
        return llama(format, 256, 4, 128, 288);
    }

    private static GraphOf.Built llama(WeightFormat format, int hidden, int heads, int dim, int mlp) {
        GraphOf g = new GraphOf(22);
        RopeFrequencies f = new RopeFrequencies(10000, new RopeFrequencies.Plain());
        Op.Rope rope = new Op.Rope(dim, dim, false, f);
        Value x = g.add("embed.tokens", new Op.Embed(Index.TOKEN, g.matrix(GraphOf.VOCABULARY, hidden, WeightFormat.F32), 0));
        for (int n = 0; n < 2; n++) {
            String layer = "layer." + n + ".";
            Value h = g.add(layer + "attn.norm", g.norm(NormKind.RMS, hidden), x);
            Value q = g.add(layer + "attn.q", g.linear(heads * dim, hidden, format, false), h);
            Value k = g.add(layer + "attn.k", g.linear(heads / 2 * dim, hidden, format, false), h);
            Value v = g.add(layer + "attn.v", g.linear(heads / 2 * dim, hidden, format, false), h);
            q = g.add(layer + "attn.rope_q", rope, g.add(layer + "attn.norm_q", g.norm(NormKind.RMS, dim), q));
            k = g.add(layer + "attn.rope_k", rope, g.add(layer + "attn.norm_k", g.norm(NormKind.RMS, dim), k));
            Value a = g.add(layer + "attn.attention", new Op.Attention(n, heads, heads / 2, dim, scale(dim), true, 0), q, k, v);
            x = g.add(layer + "attn.add", new Op.Add(), x, g.add(layer + "attn.o", g.linear(hidden, heads * dim, format, false), a));
            h = g.add(layer + "mlp.norm", g.norm(NormKind.RMS, hidden), x);
            Value gate = g.add(layer + "mlp.gate", g.linear(mlp, hidden, format, false), h);
            Value up = g.add(layer + "mlp.up", g.linear(mlp, hidden, format, false), h);
            h = g.add(layer + "mlp.act", new Op.Gate(Act.SILU), gate, up);
            x = g.add(layer + "mlp.add", new Op.Add(), x, g.add(layer + "mlp.down", g.linear(hidden, mlp, format, false), h));
        }
        x = g.add("final_norm", g.norm(NormKind.RMS, hidden), g.add("select", new Op.Select(), x));
        return g.done(g.add("lm_head", g.linear(GraphOf.VOCABULARY, hidden, format, false), x));
    }

    /** The model's graph after fusion for what {@code supports} says. */
    public static GraphOf.Built fused(GraphOf.Built built, Executor executor) {
        Graph fused = Fusion.apply(built.graph(), built.weights(), executor::supports);
        return new GraphOf.Built(fused, built.weights());
    }
}
