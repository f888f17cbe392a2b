package dev.millrace.cuda;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.cuda.driver.Geometry;

/**
 * Attention, over the cache or, in encoders, over the batch. Single tokens, and slices of few, take one launch that
 * rotates, appends and attends; longer slices append first.
 *
 * @param kvOffset elements a position takes in the caches of the layers before
 * @param qNorm null for none
 * @param rope null for none
 */
record AttentionStep(Node node, Op.Attention op, long kvOffset, NormRef qNorm, NormRef kNorm, RopeRef rope)
        implements Step {

    /** Heads that one block of the single-token kernel serves. */
    static int headGroups(Op.Attention op) {
        return op.kvHeads() * Math.ceilDiv(op.heads() / op.kvHeads(), AttentionRules.HEADS_PER_BLOCK);
    }

    @Override
    public void emit(Emission e) {
        if (!op.causal()) {
            if (qNorm != null || kNorm != null || rope != null) {
                append(e, KvFormat.F32);
            }
            attend(e, KvFormat.F32);
            return;
        }
        if (e.shape().f32Caches()) {
            cached(e, KvFormat.F32);
        }
        if (e.shape().f16Caches()) {
            cached(e, KvFormat.F16);
        }
    }

    private void cached(Emission e, KvFormat kv) {
        if (e.shape().singles()) {
            int rows = e.shape().rows();
            Geometry g = e.machine().rules().attention().ofOne(op, rows, e.shape().reach());
            boolean meet = g.cluster() > 1;
            write(e, kv, meet ? g.gridZ() : g.gridX());
            e.launch(meet ? "attn_decode_cluster" : "attn_decode", g);
            return;
        }
        AttentionRules.Attend plain = plain(e, kv)
                ? e.machine().rules().attention().plain(op, kvOffset, e.shape().longest(), e.shape().sequences())
                : null;
        if (plain != null) {
            write(e, kv, 1);
            e.launch(plain.kernel(), plain.geometry());
        } else if (!strict(e) && e.machine().rules().attention().appends(op, rope, kvOffset, e.shape().longest())) {
            write(e, kv, 1);
            e.launch(
                    "attn_short" + op.headDim(),
                    e.machine().rules().attention().ofFew(op, e.shape().longest(), e.shape().sequences()));
        } else {
            append(e, kv);
            attend(e, kv);
        }
    }

    /** Whether queries, keys and values are attended to as they are. */
    private boolean plain(Emission e, KvFormat kv) {
        boolean halves = kv == KvFormat.F16 && e.format(node.inputs().getFirst()) == Format.F16;
        return halves && qNorm == null && kNorm == null && rope == null;
    }

    private boolean strict(Emission e) {
        return e.format(node.inputs().getFirst()) == Format.F32 && e.machine().strict();
    }

    private void append(Emission e, KvFormat kv) {
        write(e, kv, 1);
        e.launch("kv_append", e.machine().rules().rows(e.shape().rows(), 256));
    }

    private void attend(Emission e, KvFormat kv) {
        write(e, kv, 1);
        AttentionRules rules = e.machine().rules().attention();
        int longest = e.shape().longest();
        int sequences = e.shape().sequences();
        AttentionRules.Attend many = strict(e)
                ? rules.ofManyStrict(op, kv, kvOffset, longest, sequences)
                : rules.ofMany(op, longest, sequences);
        e.launch(many.kernel(), many.geometry());
    }

    private void write(Emission e, KvFormat kv, int splits) {
        Value q = node.inputs().getFirst();
        Format in = e.format(q);
        int size = in == Format.F32 ? 4 : 2;
        long qAt = e.address(q);
        long kAt;
        long vAt;
        if (node.inputs().size() == 1) {
            kAt = qAt + (long) size * op.heads() * op.headDim();
            vAt = kAt + (long) size * op.kvHeads() * op.headDim();
        } else {
            kAt = e.address(node.inputs().get(1));
            vAt = e.address(node.inputs().get(2));
        }
        e.begin();
        e.batch();
        e.arguments()
                .put(qAt)
                .put(kAt)
                .put(vAt)
                .put(e.address(node.output()))
                .put(Activations.ld(q.width()))
                .put(Activations.ld(node.inputs().size() == 1 ? q.width() : node.inputs().get(1).width()))
                .put(Activations.ld(node.inputs().size() == 1 ? q.width() : node.inputs().get(2).width()))
                .put(Activations.ld(node.output().width()))
                .put(op.heads())
                .put(op.kvHeads())
                .put(op.headDim())
                .put(op.window())
                .put(op.scale())
                .put(op.causal() ? 1 : 0)
                .put(kvOffset)
                .put(in.code())
                .put(e.format(node.output()).code())
                .put(kv.ordinal())
                .put(splits);
        e.norm(qNorm);
        e.norm(kNorm);
        e.rope(rope);
        e.arguments().put(e.machine().attentionWork()).put(e.machine().counters());
    }
}
