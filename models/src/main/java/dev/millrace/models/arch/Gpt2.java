package dev.millrace.models.arch;

import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.NormKind;
import dev.millrace.core.graph.Value;
import java.util.List;

/**
 * GPT-2 (Radford et al., 2019): learned positions, norms before attention and MLP, one tensor for q, k and v.
 *
 * @param scaled whether scores are divided by the root of the head's size
 * @param layerScaled whether scores are divided by the layer's number, counted from 1
 */
record Gpt2(ModelConfig config, Act act, float epsilon, boolean scaled, boolean layerScaled) implements Blueprint {

    static Blueprint read(String type, Settings s) {
        int hidden = s.size("n_embd", "hidden_size");
        int heads = s.size("n_head", "num_attention_heads");
        if (hidden % heads != 0) {
            throw s.wrong(s.first("n_head", "num_attention_heads"), "a number of heads that divides n_embd " + hidden);
        }
        s.refuse("add_cross_attention", "there is no encoder to attend to");
        // what it asks for, scores in float32, is how every executor computes them
        s.flag("reorder_and_upcast_attn", false);
        s.ignore("n_ctx", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels");
        int positions = s.size("n_positions", "max_position_embeddings", "n_ctx");
        ModelConfig config = new ModelConfig(
                type,
                s.size("vocab_size"),
                hidden,
                s.sizeOr("n_inner", Math.multiplyExact(4, hidden)),
                s.layers("n_layer", "num_hidden_layers"),
                heads,
                heads,
                hidden / heads,
                positions,
                s.ids("bos_token_id"),
                s.ids("eos_token_id"),
                false,
                s.flag("tie_word_embeddings", true),
                0);
        return new Gpt2(
                config,
                Acts.read(s, "activation_function", "gelu_new"),
                (float) s.positive("layer_norm_epsilon", 1e-5),
                s.flag("scale_attn_weights", true),
                s.flag("scale_attn_by_inverse_layer_idx", false));
    }

    @Override
    public void bind(Binder tensors) {
        int hidden = config.hidden();
        tensors.prefix("transformer.");
        tensors.table("embed.tokens", "wte.weight", config.vocab(), hidden);
        tensors.table("embed.positions", "wpe.weight", config.maxPositions(), hidden);
        for (int i = 0; i < config.layers(); i++) {
            String path = "layer." + i + ".";
            String layer = "h." + i + ".";
            tensors.norm(path + "attn.norm", layer + "ln_1", hidden, true);
            tensors.conv1d(
                    List.of(path + "attn.q", path + "attn.k", path + "attn.v"),
                    new int[] {hidden, hidden, hidden},
                    layer + "attn.c_attn",
                    hidden);
            tensors.conv1d(path + "attn.o", layer + "attn.c_proj", hidden, hidden);
            tensors.norm(path + "mlp.norm", layer + "ln_2", hidden, true);
            tensors.conv1d(path + "mlp.up", layer + "mlp.c_fc", config.inner(), hidden);
            tensors.conv1d(path + "mlp.down", layer + "mlp.c_proj", hidden, config.inner());
        }
        tensors.norm("final_norm", "ln_f", hidden, true);
        if (config.tied()) {
            tensors.share("lm_head", "embed.tokens");
        } else {
            tensors.linear("lm_head", "/lm_head", config.vocab(), hidden, false);
        }
    }

    @Override
    public void build(Blocks graph) {
        Value x = graph.add(
                "embed.add",
                graph.embed("embed.tokens", Op.Index.TOKEN, 0),
                graph.embed("embed.positions", Op.Index.POSITION, 0));
        for (int i = 0; i < config.layers(); i++) {
            x = layer(graph, i, x);
        }
        Value hidden = graph.norm("final_norm", NormKind.LAYER, epsilon, graph.select("select", x));
        graph.output(Graph.LOGITS, graph.linear("lm_head", hidden));
        graph.output(Graph.HIDDEN, hidden);
    }

    private Value layer(Blocks graph, int i, Value x) {
        String attn = "layer." + i + ".attn.";
        Value n = graph.norm(attn + "norm", NormKind.LAYER, epsilon, x);
        Value y = graph.attention(
                attn + "attention",
                new Op.Attention(i, config.heads(), config.heads(), config.headDim(), scale(i), true, 0),
                graph.linear(attn + "q", n),
                graph.linear(attn + "k", n),
                graph.linear(attn + "v", n));
        x = graph.add(attn + "add", x, graph.linear(attn + "o", y));
        String mlp = "layer." + i + ".mlp.";
        n = graph.norm(mlp + "norm", NormKind.LAYER, epsilon, x);
        y = graph.activation(mlp + "act", act, graph.linear(mlp + "up", n));
        return graph.add(mlp + "add", x, graph.linear(mlp + "down", y));
    }

    private float scale(int layer) {
        double scale = scaled ? 1 / Math.sqrt(config.headDim()) : 1;
        return (float) (layerScaled ? scale / (layer + 1) : scale);
    }
}
