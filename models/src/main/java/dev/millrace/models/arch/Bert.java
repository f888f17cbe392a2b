package dev.millrace.models.arch;

import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.NormKind;
import dev.millrace.core.graph.Op.Pooling;
import dev.millrace.core.graph.Value;
import java.util.Optional;

/**
 * BERT (Devlin et al., 2018), RoBERTa (positions start behind the padding id) and DistilBERT (no token types, no pooler):
 * encoders that normalize after attention and after the MLP.
 *
 * @param names what the checkpoint calls things
 * @param types token types; 0 for none
 * @param offset where positions start in their table
 * @param head the classifier, where there is one
 * @param sentence how sentence-transformers pools, where the checkpoint says so
 * @param normalize whether that embedding is scaled to length 1
 */
record Bert(
        ModelConfig config,
        Names names,
        Act act,
        float epsilon,
        int types,
        int offset,
        Head head,
        Optional<Pooling> sentence,
        boolean normalize)
        implements Blueprint {
    /** The output of sentence-transformers' pooling, and the section of the configuration that says how. */
    static final String SENTENCE = "sentence_embedding";

    /** What is on top of the encoder. */
    enum Head {
        NONE,
        /** A linear layer on the pooler's output. */
        ON_POOLER,
        /** A linear layer and an activation on the first token's state, then a linear layer. */
        ON_CLS
    }

    /** The names of tensors; those of a layer come after {@code layer} and its number. */
    record Names(
            String prefix,
            String layer,
            String q,
            String k,
            String v,
            String o,
            String attentionNorm,
            String up,
            String down,
            String outputNorm,
            String dense,
            String classifier,
            Act denseAct) {
        static final Names BERT = new Names(
                "bert.",
                "encoder.layer.",
                "attention.self.query",
                "attention.self.key",
                "attention.self.value",
                "attention.output.dense",
                "attention.output.LayerNorm",
                "intermediate.dense",
                "output.dense",
                "output.LayerNorm",
                null,
                "/classifier",
                null);
        static final Names ROBERTA = new Names(
                "roberta.",
                BERT.layer,
                BERT.q,
                BERT.k,
                BERT.v,
                BERT.o,
                BERT.attentionNorm,
                BERT.up,
                BERT.down,
                BERT.outputNorm,
                "/classifier.dense",
                "/classifier.out_proj",
                Act.TANH);
        static final Names DISTILBERT = new Names(
                "distilbert.",
                "transformer.layer.",
                "attention.q_lin",
                "attention.k_lin",
                "attention.v_lin",
                "attention.out_lin",
                "sa_layer_norm",
                "ffn.lin1",
                "ffn.lin2",
                "output_layer_norm",
                "/pre_classifier",
                "/classifier",
                Act.RELU);
    }

    static Blueprint read(String type, Settings s) {
        boolean distil = type.equals("distilbert");
        boolean bert = type.equals("bert");
        s.refuse("is_decoder", "use a decoder architecture");
        s.refuse("add_cross_attention", "there is no other encoder to attend to");
        if (!s.text("position_embedding_type", "absolute").equals("absolute")) {
            throw s.wrong("position_embedding_type", "absolute");
        }
        s.flag("tie_word_embeddings", true);
        s.ignore("directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
                "pooler_size_per_head", "pooler_type");
        // the table is in the checkpoint either way
        s.flag("sinusoidal_pos_embds", false);
        int hidden = distil ? s.size("dim", "hidden_size") : s.size("hidden_size");
        int heads = distil ? s.size("n_heads", "num_attention_heads") : s.size("num_attention_heads");
        if (hidden % heads != 0) {
            throw s.wrong(s.first("n_heads", "num_attention_heads"), "a number of heads that divides " + hidden);
        }
        int offset = bert || distil ? 0 : s.integer("pad_token_id", 0, 1) + 1;
        int positions = s.size("max_position_embeddings");
        if (positions <= offset) {
            throw s.wrong("max_position_embeddings", "more than the " + offset + " that come before the first position");
        }
        boolean classifier =
                s.texts("architectures").stream().anyMatch(name -> name.endsWith("ForSequenceClassification"));
        ModelConfig config = new ModelConfig(
                type,
                s.size("vocab_size"),
                hidden,
                distil ? s.size("hidden_dim", "intermediate_size") : s.size("intermediate_size"),
                distil ? s.layers("n_layers", "num_hidden_layers") : s.layers("num_hidden_layers"),
                heads,
                heads,
                hidden / heads,
                positions - offset,
                s.ids("bos_token_id"),
                s.ids("eos_token_id"),
                true,
                false,
                classifier ? labels(s) : 0);
        Head head = !classifier ? Head.NONE : bert ? Head.ON_POOLER : Head.ON_CLS;
        return new Bert(
                config,
                distil ? Names.DISTILBERT : bert ? Names.BERT : Names.ROBERTA,
                Acts.read(s, distil ? "activation" : "hidden_act", "gelu"),
                (float) (distil ? 1e-12 : s.positive("layer_norm_eps", 1e-12)),
                distil ? 0 : s.sizeOr("type_vocab_size", 2),
                offset,
                head,
                pooling(s.section(SENTENCE)),
                s.section(SENTENCE) != null && s.section(SENTENCE).flag("normalize", false));
    }

    private static Optional<Pooling> pooling(Settings section) {
        if (section == null) {
            return Optional.empty();
        }
        return Optional.of(
                switch (section.text("pooling", null)) {
                    case "cls" -> Pooling.CLS;
                    case "mean" -> Pooling.MEAN;
                    case "max" -> Pooling.MAX;
                    case null, default -> throw section.wrong("pooling", "cls, mean or max");
                });
    }

    private static int labels(Settings s) {
        int named = s.count("id2label");
        return named > 0 ? named : s.sizeOr("num_labels", 2);
    }

    @Override
    public void bind(Binder tensors) {
        int hidden = config.hidden();
        tensors.prefix(names.prefix());
        tensors.table("embed.tokens", "embeddings.word_embeddings.weight", config.vocab(), hidden);
        tensors.table(
                "embed.positions", "embeddings.position_embeddings.weight", config.maxPositions() + (long) offset, hidden);
        if (types > 0) {
            tensors.table("embed.types", "embeddings.token_type_embeddings.weight", types, hidden);
        }
        tensors.norm("embed.norm", "embeddings.LayerNorm", hidden, true);
        for (int i = 0; i < config.layers(); i++) {
            String attn = "layer." + i + ".attn.";
            String layer = names.layer() + i + ".";
            tensors.linear(attn + "q", layer + names.q(), hidden, hidden, true);
            tensors.linear(attn + "k", layer + names.k(), hidden, hidden, true);
            tensors.linear(attn + "v", layer + names.v(), hidden, hidden, true);
            tensors.linear(attn + "o", layer + names.o(), hidden, hidden, true);
            tensors.norm(attn + "norm", layer + names.attentionNorm(), hidden, true);
            String mlp = "layer." + i + ".mlp.";
            tensors.linear(mlp + "up", layer + names.up(), config.inner(), hidden, true);
            tensors.linear(mlp + "down", layer + names.down(), hidden, config.inner(), true);
            tensors.norm(mlp + "norm", layer + names.outputNorm(), hidden, true);
        }
        if (head == Head.ON_POOLER || tensors.hasLinear("pooler.dense")) {
            tensors.linear("pooler", "pooler.dense", hidden, hidden, true);
        }
        if (normalize) {
            // length 1 is a root mean square of 1 / sqrt(hidden)
            tensors.constant("sentence.normalize", hidden, (float) (1 / Math.sqrt(hidden)));
        }
        if (head == Head.ON_CLS) {
            tensors.linear("classifier.dense", names.dense(), hidden, hidden, true);
        }
        if (head != Head.NONE) {
            tensors.linear("classifier", names.classifier(), config.labels(), hidden, true);
        }
    }

    @Override
    public void build(Blocks graph) {
        Value x = graph.embed("embed.tokens", Op.Index.TOKEN, 0);
        if (types > 0) {
            x = graph.add("embed.add_types", x, graph.embed("embed.types", Op.Index.TOKEN_TYPE, 0));
        }
        x = graph.add("embed.add", x, graph.embed("embed.positions", Op.Index.POSITION, offset));
        x = graph.norm("embed.norm", NormKind.LAYER, epsilon, x);
        for (int i = 0; i < config.layers(); i++) {
            x = layer(graph, i, x);
        }
        graph.output(Graph.HIDDEN, graph.select("select", x));
        boolean pooler = graph.has("pooler");
        Value cls = pooler || head == Head.ON_CLS || sentence.isEmpty() ? graph.pool("pool", Pooling.CLS, x) : null;
        Value pooled = cls;
        if (pooler) {
            pooled = graph.activation("pooler.act", Act.TANH, graph.linear("pooler", cls));
        }
        if (sentence.isPresent()) {
            Value embedding = graph.pool("sentence", sentence.get(), x);
            if (normalize) {
                embedding = graph.norm("sentence.normalize", NormKind.RMS, 1e-24f, embedding);
            }
            graph.output(SENTENCE, embedding);
            pooled = pooler ? pooled : embedding;
        }
        graph.output(Graph.POOLED, pooled);
        switch (head) {
            case NONE -> {}
            case ON_POOLER -> graph.output(Graph.LOGITS, graph.linear("classifier", pooled));
            case ON_CLS -> {
                Value y = graph.activation("classifier.act", names.denseAct(), graph.linear("classifier.dense", cls));
                graph.output(Graph.LOGITS, graph.linear("classifier", y));
            }
        }
    }

    private Value layer(Blocks graph, int i, Value x) {
        String attn = "layer." + i + ".attn.";
        float scale = (float) (1 / Math.sqrt(config.headDim()));
        Value y = graph.attention(
                attn + "attention",
                new Op.Attention(i, config.heads(), config.heads(), config.headDim(), scale, false, 0),
                graph.linear(attn + "q", x),
                graph.linear(attn + "k", x),
                graph.linear(attn + "v", x));
        x = graph.add(attn + "add", x, graph.linear(attn + "o", y));
        x = graph.norm(attn + "norm", NormKind.LAYER, epsilon, x);
        String mlp = "layer." + i + ".mlp.";
        y = graph.activation(mlp + "act", act, graph.linear(mlp + "up", x));
        x = graph.add(mlp + "add", x, graph.linear(mlp + "down", y));
        return graph.norm(mlp + "norm", NormKind.LAYER, epsilon, x);
    }
}
