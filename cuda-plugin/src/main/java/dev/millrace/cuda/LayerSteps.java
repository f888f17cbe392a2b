package dev.millrace.cuda;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import java.util.List;
import java.util.Locale;

/**
 * A layer of a single row in two launches, each of which leaves its output in parts that the next one sums up with the
 * stream before. Values between the nodes of a launch are nowhere in memory.
 */
final class LayerSteps {
    private LayerSteps() {}

    private static String kernel(String name, Matrix w) {
        return name + w.format().name().toLowerCase(Locale.ROOT);
    }

    private static long bias(Emission e, LinearStep linear) {
        long bias = linear.parts().getFirst().bias();
        return bias < 0 ? 0 : e.constant(bias);
    }

    private static Matrix matrix(LinearStep linear) {
        return linear.parts().getFirst().matrix();
    }

    /** struct ResidualRef, 40 bytes: what the launch {@code which} of a layer left (1: the second). */
    private static void left(Emission e, int which, LinearStep last, int parts, long sum) {
        long work = e.machine().layers();
        e.arguments()
                .put(LayerRules.stream(work, which))
                .put(bias(e, last))
                .put(LayerRules.parts(work, which))
                .put(sum)
                .put(parts)
                .put(matrix(last).rows());
    }

    /**
     * From a norm to attention's output.
     *
     * @param stream the input where {@code before} is null
     * @param before the layer before, where its output is not anywhere yet
     * @param later the launch's nodes after the first
     */
    record Attention(
            LinearStep qkv,
            AttentionStep attention,
            LinearStep o,
            Value stream,
            Mlp before,
            LayerRules.Attention rule,
            KvFormat kv,
            List<Emission.Done> later)
            implements Step {
        @Override
        public Node node() {
            return qkv.node();
        }

        @Override
        public void emit(Emission e) {
            Op.Attention op = attention.op();
            long work = e.machine().layers();
            long sum = LayerRules.stream(work, 0);
            e.begin();
            if (before == null) {
                e.arguments().put(e.address(stream)).put(0L).put(0L).put(sum).put(0).put(0);
            } else {
                left(e, 1, before.down, before.rule.parts(), sum);
            }
            e.norm(qkv.norm());
            e.weight(matrix(qkv));
            e.weight(matrix(o));
            e.arguments().put(bias(e, qkv)).put(LayerRules.parts(work, 0));
            e.batch();
            e.norm(attention.qNorm());
            e.norm(attention.kNorm());
            e.rope(attention.rope());
            e.arguments()
                    .put(attention.kvOffset())
                    .put(op.heads())
                    .put(op.kvHeads())
                    .put(op.headDim())
                    .put(op.window())
                    .put(op.scale())
                    .put(kv.ordinal())
                    .put(rule.chunk())
                    .put(0);
            e.launch(kernel("layer_attention_", matrix(qkv)) + rule.kernel(), rule.geometry(), later);
        }
    }

    /**
     * From the next norm to the layer's output.
     *
     * @param before the launch before
     * @param ends whether somebody reads the output who does not sum it up
     * @param later the launch's nodes after the first
     */
    record Mlp(
            LinearStep up, LinearStep down, Attention before, boolean ends, LayerRules.Mlp rule, List<Emission.Done> later)
            implements Step {
        @Override
        public Node node() {
            return up.node();
        }

        @Override
        public void emit(Emission e) {
            long work = e.machine().layers();
            e.begin();
            left(e, 0, before.o, before.rule.geometry().gridX(), LayerRules.stream(work, 1));
            e.norm(up.norm());
            e.weight(matrix(up));
            e.weight(matrix(down));
            e.arguments()
                    .put(bias(e, up))
                    .put(LayerRules.parts(work, 1))
                    .put(up.act())
                    .put(up.gated() ? 1 : 0)
                    .put(rule.units())
                    .put(0);
            e.launch(kernel("layer_mlp_", matrix(up)) + rule.kernel(), rule.geometry(), later);
            if (ends) {
                e.begin();
                left(e, 1, down, rule.parts(), e.address(down.node().output()));
                int width = matrix(down).rows();
                e.arguments().put(width).put(0);
                e.launch("layer_sum", e.machine().rules().layers().sum(width));
            }
        }
    }
}
