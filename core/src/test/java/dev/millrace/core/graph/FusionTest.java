package dev.millrace.core.graph;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Support;
import dev.millrace.core.graph.pass.Fusion;
import dev.millrace.core.kit.GraphOf;
import dev.millrace.core.kit.KitModels;
import dev.millrace.core.kit.Trial;
import dev.millrace.core.reference.ReferenceProvider;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FusionTest {
    private static GraphOf.Built model(String name) {
        return name.equals("gpt") ? KitModels.gpt(WeightFormat.F32) : KitModels.llama(WeightFormat.F32);
    }

    @Test
    void aLayerOfGptBecomesFiveNodes() {
        GraphOf.Built gpt = model("gpt");
        Graph fused = Fusion.apply(gpt.graph(), gpt.weights(), op -> Support.YES);
        assertThat(fused.nodes()).extracting(Node::path).containsExactly(
                "embed.tokens",
                "layer.0.attn.qkv", "layer.0.attn.attention", "layer.0.attn.o", "layer.0.mlp.up", "layer.0.mlp.down",
                "layer.1.attn.qkv", "layer.1.attn.attention", "select", "select.2",
                "layer.1.attn.o", "layer.1.mlp.up", "layer.1.mlp.down", "lm_head");
        assertThat(fused.nodes().get(1).covers())
                .containsExactly("layer.0.attn.norm", "layer.0.attn.q", "layer.0.attn.k", "layer.0.attn.v");
    }

    @Test
    void aLayerOfLlamaBecomesFiveNodes() {
        GraphOf.Built llama = model("llama");
        Graph fused = Fusion.apply(llama.graph(), llama.weights(), op -> Support.YES);
        assertThat(fused.nodes().subList(1, 6)).extracting(Node::path).containsExactly(
                "layer.0.attn.qkv", "layer.0.attn.attention", "layer.0.attn.o", "layer.0.mlp.gate_up", "layer.0.mlp.down");
        assertThat(fused.nodes().get(2).covers()).containsExactlyInAnyOrder(
                "layer.0.attn.norm_q", "layer.0.attn.rope_q", "layer.0.attn.norm_k", "layer.0.attn.rope_k",
                "layer.0.attn.attention");
    }

    @ParameterizedTest
    @ValueSource(strings = {"gpt", "llama"})
    void everyNodeIsCoveredOnce(String name) {
        GraphOf.Built built = model(name);
        Graph fused = Fusion.apply(built.graph(), built.weights(), op -> Support.YES);
        assertThat(fused.nodes().stream().flatMap(n -> n.covers().stream()))
                .containsExactlyInAnyOrderElementsOf(built.graph().nodes().stream().map(Node::path).toList());
    }

    @ParameterizedTest
    @ValueSource(strings = {"gpt", "llama"})
    void theFusedGraphComputesTheSame(String name) {
        GraphOf.Built built = model(name);
        int[] tokens = Trial.tokens(13, new Random(1));
        float[] plain = logits(built, tokens);
        Graph fused = Fusion.apply(built.graph(), built.weights(), op -> Support.YES);
        Trial.compare(plain, logits(new GraphOf.Built(fused, built.weights()), tokens), 1e-7);
    }

    @Test
    void nothingIsFusedIntoWhatTheExecutorDeclines() {
        GraphOf.Built built = model("llama");
        Graph fused = Fusion.apply(
                built.graph(), built.weights(), op -> op instanceof Op.Fused ? Support.no("plain ops only") : Support.YES);
        assertThat(fused.nodes()).noneMatch(n -> n.op() instanceof Op.Fused);
        assertThat(fused.nodes()).filteredOn(n -> !(n.op() instanceof Op.Select))
                .extracting(Node::path)
                .containsExactlyElementsOf(built.graph().nodes().stream()
                        .filter(n -> !(n.op() instanceof Op.Select))
                        .map(Node::path)
                        .toList());
    }

    @ParameterizedTest
    @ValueSource(strings = {"gpt", "llama"})
    void afterTheLastAttentionOnlyWantedRowsAreComputed(String name) {
        GraphOf.Built built = model(name);
        Graph fused = Fusion.apply(built.graph(), built.weights(), op -> Support.YES);
        List<String> paths = fused.nodes().stream().map(Node::path).toList();
        int last = paths.indexOf("layer.1.attn.attention");
        assertThat(fused.nodes().subList(0, last + 1)).allMatch(n -> n.output().rows() == Value.Rows.TOKENS);
        assertThat(fused.nodes().subList(last + 1, paths.size())).allMatch(n -> n.output().rows() == Value.Rows.SELECTED);
    }

    @Test
    void anActivationThatIsGivenOutIsNotFusedAway() {
        GraphOf g = new GraphOf(2);
        Value hidden = g.add("norm", g.norm(Op.NormKind.RMS, 32), g.input(32));
        GraphOf.Built built = g.done(g.add("head", g.linear(8, 32, WeightFormat.F32, false), hidden));
        Graph both = new Graph(
                "both", built.graph().nodes(), Map.of(Graph.LOGITS, built.graph().output(Graph.LOGITS), Graph.HIDDEN, hidden));
        List<Node> nodes = Fusion.apply(both, built.weights(), op -> Support.YES).nodes();
        assertThat(nodes).extracting(Node::path).endsWith("norm", "head");
    }

    private static float[] logits(GraphOf.Built built, int[] tokens) {
        float[] out = new float[tokens.length * GraphOf.VOCABULARY];
        try (var executor = new ReferenceProvider().open(0, ExecutorOptions.DEFAULT);
                var program = executor.compile(
                        built.graph(), built.weights(), CompileOptions.DEFAULT);
                var session = program.newSession(tokens.length, KvFormat.F32)) {
            program.forward(
                    Batch.of(session, tokens, Rows.ALL), MemorySegment.ofArray(out));
        }
        return out;
    }
}
