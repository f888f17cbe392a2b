package dev.millrace.models.quantize;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.RopeFrequencies;
import dev.millrace.core.graph.RopeFrequencies.Factors;
import dev.millrace.core.graph.RopeFrequencies.Linear;
import dev.millrace.core.graph.RopeFrequencies.Llama3;
import dev.millrace.core.graph.RopeFrequencies.Plain;
import dev.millrace.core.graph.RopeFrequencies.Yarn;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.models.Model;
import dev.millrace.models.arch.ModelConfig;
import dev.millrace.models.checkpoint.GgufWriter;
import dev.millrace.quant.Views;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * A model under the names, in the layout and with the metadata that GGUF gives it (llama.cpp's converter and gguf-py's
 * constants): taken from the graph, so that what is written is what would run.
 */
final class GgufModel {
    private static final Map<String, String> ARCHITECTURES =
            Map.of("gpt2", "gpt2", "llama", "llama", "mistral", "llama", "qwen2", "qwen2", "qwen3", "qwen3");

    private static final Map<String, String> PARTS = Map.of(
            "attn.norm", "attn_norm",
            "attn.q", "attn_q",
            "attn.k", "attn_k",
            "attn.v", "attn_v",
            "attn.o", "attn_output",
            "attn.q_norm", "attn_q_norm",
            "attn.k_norm", "attn_k_norm",
            "mlp.norm", "ffn_norm",
            "mlp.gate", "ffn_gate");

    private final Model model;
    private final ModelConfig config;
    private final String architecture;
    private final Map<String, Node> nodes;

    GgufModel(Model model) {
        this.model = model;
        this.config = model.config();
        this.architecture = ARCHITECTURES.get(config.family());
        if (architecture == null) {
            throw new MillraceException(model.name() + ": a GGUF file of a " + config.family()
                    + " model is not written; of these it is: "
                    + String.join(", ", ARCHITECTURES.keySet().stream().sorted().toList()));
        }
        this.nodes = model.graph().nodes().stream().collect(Collectors.toMap(Node::path, n -> n));
        check();
    }

    /** What llama.cpp computes for these architectures is fixed; a variant of it would run there with other results. */
    private void check() {
        Act expected = architecture.equals("gpt2") ? Act.GELU_TANH : Act.SILU;
        float scale = (float) (1 / Math.sqrt(config.headDim()));
        int window = window();
        for (Node node : nodes.values()) {
            switch (node.op()) {
                case Op.Activation a -> refuse(a.act() != expected, node, "activation " + a.act());
                case Op.Gate g -> refuse(g.act() != expected, node, "activation " + g.act());
                case Op.Attention a -> {
                    refuse(a.scale() != scale, node, "an attention scale of " + a.scale());
                    refuse(a.window() != window, node, "a window that not every layer has");
                    refuse(window > 0 && !architecture.equals("llama"), node, "a sliding window");
                }
                default -> {}
            }
        }
    }

    private void refuse(boolean wrong, Node node, String what) {
        if (wrong) {
            throw new MillraceException(model.name() + ": " + node.path() + ": " + what + " has no form in a GGUF file of a "
                    + architecture + " model");
        }
    }

    private int window() {
        return nodes.get("layer.0.attn.attention").op() instanceof Op.Attention a ? a.window() : 0;
    }

    /** Adds the architecture's keys. */
    void metadata(GgufWriter to) {
        String prefix = architecture + ".";
        to.string("general.architecture", architecture).string("general.name", model.name());
        to.u32(prefix + "context_length", config.maxPositions());
        to.u32(prefix + "embedding_length", config.hidden());
        to.u32(prefix + "block_count", config.layers());
        to.u32(prefix + "feed_forward_length", config.inner());
        to.u32(prefix + "attention.head_count", config.heads());
        to.u32(prefix + "vocab_size", config.vocab());
        float epsilon = ((Op.Norm) nodes.get("final_norm").op()).epsilon();
        if (architecture.equals("gpt2")) {
            to.f32(prefix + "attention.layer_norm_epsilon", epsilon);
            return;
        }
        to.f32(prefix + "attention.layer_norm_rms_epsilon", epsilon);
        to.u32(prefix + "attention.head_count_kv", config.kvHeads());
        to.u32(prefix + "attention.key_length", config.headDim());
        to.u32(prefix + "attention.value_length", config.headDim());
        if (window() > 0) {
            to.u32(prefix + "attention.sliding_window", window());
        }
        rope(prefix, to);
    }

    private Optional<Op.Rope> rope() {
        return Optional.ofNullable(nodes.get("layer.0.attn.rope_q")).map(node -> (Op.Rope) node.op());
    }

    private void rope(String prefix, GgufWriter to) {
        RopeFrequencies frequencies = rope().orElseThrow().frequencies();
        to.u32(prefix + "rope.dimension_count", rope().orElseThrow().rotaryDim());
        to.f32(prefix + "rope.freq_base", (float) frequencies.theta());
        switch (frequencies.scaling()) {
            case Plain p -> {}
            case Linear l -> to.string(prefix + "rope.scaling.type", "linear")
                    .f32(prefix + "rope.scaling.factor", (float) l.factor());
            case Llama3 l -> factors(frequencies, to);
            case Factors f -> factors(frequencies, to);
            case Yarn y -> yarn(prefix, y, to);
            case RopeFrequencies.Dynamic d -> throw new MillraceException(
                    model.name() + ": dynamic rope scaling has no form in a GGUF file");
        }
    }

    private void yarn(String prefix, Yarn y, GgufWriter to) {
        double magnitude = y.factor() <= 1 ? 1 : 0.1 * Math.log(y.factor()) + 1;
        if (!y.truncate() || Math.abs(y.attentionFactor() - magnitude) > 1e-6) {
            throw new MillraceException(model.name()
                    + ": yarn rope scaling with its own attention factor or without truncation has no form in a GGUF file");
        }
        to.string(prefix + "rope.scaling.type", "yarn");
        to.f32(prefix + "rope.scaling.factor", (float) y.factor());
        to.u32(prefix + "rope.scaling.original_context_length", y.originalPositions());
        if (y.betaFast() != 32 || y.betaSlow() != 1) {
            to.f32(prefix + "rope.scaling.yarn_beta_fast", (float) y.betaFast());
            to.f32(prefix + "rope.scaling.yarn_beta_slow", (float) y.betaSlow());
        }
    }

    /** The tensor by which llama.cpp divides each frequency. */
    private void factors(RopeFrequencies frequencies, GgufWriter to) {
        if (!architecture.equals("llama")) {
            throw new MillraceException(
                    model.name() + ": this rope scaling has no form in a GGUF file of a " + architecture + " model");
        }
        int dims = rope().orElseThrow().rotaryDim();
        double[] plain = new RopeFrequencies(frequencies.theta(), new Plain()).inverse(dims, 0);
        double[] scaled = frequencies.inverse(dims, 0);
        float[] factors = new float[plain.length];
        for (int i = 0; i < factors.length; i++) {
            factors[i] = (float) (plain[i] / scaled[i]);
        }
        to.add("rope_freqs.weight", Views.vector("rope_freqs.weight", factors));
    }

    /** All tensors by GGUF name, in GGUF's layout, in the formats they are stored in. */
    Map<String, Weight> tensors() {
        Map<String, Weight> all = new LinkedHashMap<>();
        put(all, "token_embd", "embed.tokens");
        put(all, "position_embd", "embed.positions");
        for (int i = 0; i < config.layers(); i++) {
            String layer = "layer." + i + ".";
            String block = "blk." + i + ".";
            if (architecture.equals("gpt2")) {
                List<String> qkv = List.of(layer + "attn.q", layer + "attn.k", layer + "attn.v");
                joined(all, block + "attn_qkv", qkv);
            }
            for (Map.Entry<String, String> part : PARTS.entrySet().stream().sorted(Map.Entry.comparingByKey()).toList()) {
                boolean joined = architecture.equals("gpt2") && Set.of("attn.q", "attn.k", "attn.v").contains(part.getKey());
                if (!joined) {
                    put(all, block + part.getValue(), layer + part.getKey());
                }
            }
            put(all, block + "ffn_up", layer + "mlp.up");
            put(all, block + "ffn_down", layer + "mlp.down");
        }
        put(all, "output_norm", "final_norm");
        if (!config.tied()) {
            put(all, "output", "lm_head");
        }
        return all;
    }

    private void put(Map<String, Weight> all, String name, String path) {
        for (String end : List.of(".weight", ".bias")) {
            if (model.weights().has(path + end)) {
                all.put(name + end, Views.named(name + end, layout(path, weight(path, end))));
            }
        }
    }

    private void joined(Map<String, Weight> all, String name, List<String> paths) {
        all.put(name + ".weight",
                Views.concatenated(name + ".weight", paths.stream().map(p -> weight(p, ".weight")).toList()));
        float[] bias = new float[3 * config.hidden()];
        for (int i = 0; i < 3; i++) {
            System.arraycopy(weight(paths.get(i), ".bias").floats(), 0, bias, i * config.hidden(), config.hidden());
        }
        all.put(name + ".bias", Views.vector(name + ".bias", bias));
    }

    /** A weight with its columns in the order of its input, which those of a GPTQ layer may not have. */
    private Weight weight(String path, String end) {
        Weight weight = model.weights().get(path + end);
        if (!end.equals(".weight") || !model.weights().has(path + ".order")) {
            return weight;
        }
        float[] order = model.weights().get(path + ".order").floats();
        int[] inverse = new int[order.length];
        for (int i = 0; i < order.length; i++) {
            inverse[(int) order[i]] = i;
        }
        return Views.permutedColumns(path, Views.converted(weight, WeightFormat.F32), inverse);
    }

    /** ggml's llama rotates neighbours: rows i and i + half of every head of q and k come to stand side by side. */
    private Weight layout(String path, Weight weight) {
        boolean rotated = path.endsWith(".attn.q") || path.endsWith(".attn.k");
        if (!rotated || !architecture.equals("llama") || rope().orElseThrow().interleaved()) {
            return weight;
        }
        int d = config.headDim();
        boolean vector = weight.shape().rows() == 1;
        int rows = Math.toIntExact(vector ? weight.shape().columns() : weight.shape().rows());
        int[] order = new int[rows];
        for (int row = 0; row < rows; row++) {
            int head = row / d * d;
            int in = row % d;
            order[row] = head + in % 2 * (d / 2) + in / 2;
        }
        return vector ? Views.permutedColumns(path, weight, order) : Views.permutedRows(path, weight, order);
    }
}
