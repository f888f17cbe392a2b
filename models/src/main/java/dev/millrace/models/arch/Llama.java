package dev.millrace.models.arch;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.NormKind;
import dev.millrace.core.graph.Value;
import java.util.ArrayList;
import java.util.List;

/**
 * Llama (Touvron et al., 2023) and the models that changed little of it: Mistral (sliding window), Qwen2 (biases of q, k
 * and v), Qwen3 (q and k normalized by head).
 *
 * @param rope rotation of q and k
 * @param windows for each layer, how many positions back a token sees; 0 for all
 * @param qkvBias whether q, k and v have biases
 * @param outputBias whether the attention's output has one
 * @param mlpBias whether the MLP's layers have them
 * @param headNorm whether q and k are normalized by head
 */
record Llama(
        ModelConfig config,
        Act act,
        float epsilon,
        Op.Rope rope,
        List<Integer> windows,
        boolean qkvBias,
        boolean outputBias,
        boolean mlpBias,
        boolean headNorm)
        implements Blueprint {
    private static final int WIDEST = 1 << 24;

    static Blueprint read(String type, Settings s) {
        int hidden = s.size("hidden_size");
        int heads = s.size("num_attention_heads");
        int layers = s.layers("num_hidden_layers");
        int headDim = s.sizeOr("head_dim", type.equals("qwen3") ? 128 : hidden / heads);
        if (headDim % 2 != 0) {
            throw new MillraceException(s.file() + ": heads of " + headDim + " elements cannot be rotated in pairs");
        }
        if ((long) heads * headDim > WIDEST) {
            throw s.wrong("num_attention_heads", "heads of " + headDim + " elements that make a width of at most " + WIDEST);
        }
        int kvHeads = s.sizeOr("num_key_value_heads", type.equals("mistral") && !s.mentions("num_key_value_heads") ? 8 : heads);
        if (heads % kvHeads != 0) {
            throw s.wrong("num_key_value_heads", "a number that divides num_attention_heads " + heads);
        }
        int positions = s.size("max_position_embeddings");
        Rotary rotary = Rotary.read(s, headDim, positions);
        ModelConfig config = new ModelConfig(
                type,
                s.size("vocab_size"),
                hidden,
                s.size("intermediate_size"),
                layers,
                heads,
                kvHeads,
                headDim,
                rotary.positions(),
                s.ids("bos_token_id"),
                s.ids("eos_token_id"),
                false,
                s.flag("tie_word_embeddings", false),
                0);
        boolean attentionBias = !type.equals("qwen2") && !type.equals("mistral") && s.flag("attention_bias", false);
        return new Llama(
                config,
                Acts.read(s, "hidden_act", "silu"),
                (float) s.positive("rms_norm_eps", 1e-6),
                new Op.Rope(headDim, headDim, s.flag("rope_interleaved", false), rotary.frequencies()),
                windows(type, s, layers),
                type.equals("qwen2") || attentionBias,
                attentionBias,
                type.equals("llama") && s.flag("mlp_bias", false),
                type.equals("qwen3"));
    }

    /** Mistral's window holds for all layers; Qwen's, where switched on, for those that layer_types says, or the later. */
    private static List<Integer> windows(String type, Settings s, int layers) {
        boolean qwen = type.startsWith("qwen");
        boolean on = type.equals("mistral") || (qwen && s.flag("use_sliding_window", false));
        int window = 0;
        int full = 0;
        if (on) {
            window = s.mentions("sliding_window") ? s.integer("sliding_window", 1, 0) : 4096;
            full = qwen && window > 0 ? s.integer("max_window_layers", 0, 28) : 0;
        } else if (qwen) {
            s.ignore("sliding_window");
        }
        if (qwen) {
            s.ignore("max_window_layers");
        }
        List<String> types = s.texts("layer_types");
        if (!types.isEmpty() && types.size() != layers) {
            throw new MillraceException(
                    s.file() + ": layer_types names " + types.size() + " layers of num_hidden_layers " + layers);
        }
        List<Integer> windows = new ArrayList<>();
        for (int i = 0; i < layers; i++) {
            boolean sliding = window > 0 && i >= full;
            if (!types.isEmpty()) {
                boolean said =
                        switch (types.get(i)) {
                            case "full_attention" -> false;
                            case "sliding_attention" -> true;
                            default -> throw s.wrong("layer_types", "full_attention or sliding_attention");
                        };
                if (qwen) {
                    sliding = said;
                }
                if (said && window == 0 || said != sliding) {
                    throw new MillraceException(s.file() + ": layer_types says " + types.get(i) + " for layer " + i
                            + ", which does not fit the " + type + " reader's sliding window of " + window);
                }
            }
            windows.add(sliding ? window : 0);
        }
        return windows;
    }

    @Override
    public void bind(Binder tensors) {
        int hidden = config.hidden();
        int inner = config.inner();
        int qWidth = config.heads() * config.headDim();
        int kvWidth = config.kvHeads() * config.headDim();
        tensors.prefix("model.");
        tensors.table("embed.tokens", "embed_tokens.weight", config.vocab(), hidden);
        for (int i = 0; i < config.layers(); i++) {
            String attn = "layer." + i + ".attn.";
            String layer = "layers." + i + ".";
            tensors.norm(attn + "norm", layer + "input_layernorm", hidden, false);
            tensors.linear(attn + "q", layer + "self_attn.q_proj", qWidth, hidden, qkvBias);
            tensors.linear(attn + "k", layer + "self_attn.k_proj", kvWidth, hidden, qkvBias);
            tensors.linear(attn + "v", layer + "self_attn.v_proj", kvWidth, hidden, qkvBias);
            if (headNorm) {
                tensors.norm(attn + "q_norm", layer + "self_attn.q_norm", config.headDim(), false);
                tensors.norm(attn + "k_norm", layer + "self_attn.k_norm", config.headDim(), false);
            }
            tensors.linear(attn + "o", layer + "self_attn.o_proj", hidden, qWidth, outputBias);
            String mlp = "layer." + i + ".mlp.";
            tensors.norm(mlp + "norm", layer + "post_attention_layernorm", hidden, false);
            tensors.linear(mlp + "gate", layer + "mlp.gate_proj", inner, hidden, mlpBias);
            tensors.linear(mlp + "up", layer + "mlp.up_proj", inner, hidden, mlpBias);
            tensors.linear(mlp + "down", layer + "mlp.down_proj", hidden, inner, mlpBias);
        }
        tensors.norm("final_norm", "norm", hidden, false);
        if (config.tied()) {
            tensors.share("lm_head", "embed.tokens");
        } else {
            tensors.linear("lm_head", "/lm_head", config.vocab(), hidden, false);
        }
    }

    @Override
    public void build(Blocks graph) {
        Value x = graph.embed("embed.tokens", Op.Index.TOKEN, 0);
        for (int i = 0; i < config.layers(); i++) {
            x = layer(graph, i, x);
        }
        Value hidden = graph.norm("final_norm", NormKind.RMS, epsilon, graph.select("select", x));
        graph.output(Graph.LOGITS, graph.linear("lm_head", hidden));
        graph.output(Graph.HIDDEN, hidden);
    }

    private Value layer(Blocks graph, int i, Value x) {
        String attn = "layer." + i + ".attn.";
        Value n = graph.norm(attn + "norm", NormKind.RMS, epsilon, x);
        Value q = graph.linear(attn + "q", n);
        Value k = graph.linear(attn + "k", n);
        Value v = graph.linear(attn + "v", n);
        if (headNorm) {
            q = graph.norm(attn + "q_norm", NormKind.RMS, epsilon, q);
            k = graph.norm(attn + "k_norm", NormKind.RMS, epsilon, k);
        }
        q = graph.rope(attn + "rope_q", rope, q);
        k = graph.rope(attn + "rope_k", rope, k);
        float scale = (float) (1 / Math.sqrt(config.headDim()));
        Value y = graph.attention(
                attn + "attention",
                new Op.Attention(i, config.heads(), config.kvHeads(), config.headDim(), scale, true, windows.get(i)),
                q,
                k,
                v);
        x = graph.add(attn + "add", x, graph.linear(attn + "o", y));
        String mlp = "layer." + i + ".mlp.";
        n = graph.norm(mlp + "norm", NormKind.RMS, epsilon, x);
        Value gate = graph.linear(mlp + "gate", n);
        Value up = graph.linear(mlp + "up", n);
        y = graph.gate(mlp + "gated", act, gate, up);
        return graph.add(mlp + "add", x, graph.linear(mlp + "down", y));
    }
}
