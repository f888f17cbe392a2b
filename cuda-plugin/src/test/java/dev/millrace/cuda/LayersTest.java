package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Support;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.pass.Fusion;
import dev.millrace.core.kit.GraphOf;
import dev.millrace.core.kit.KitModels;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.cuda.driver.Geometry;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Which layers a single row passes in two launches. */
class LayersTest {
    private static final int SHARED_OF_HOPPER = 227 * 1024;
    private static final Clusters CLUSTERS_OF_H200 =
            new Clusters(new int[] {0, 0, 132, 79, 62, 47, 39, 32, 30}, new int[] {0, 0, 66, 39, 30, 22, 17, 15, 15});
    private static final LaunchRules H200 = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);

    /** A model as it is run: fused, rows that nobody asked for left out early. */
    private record Model(Graph graph, List<Step> steps) {
        static Model of(GraphOf.Built built) {
            Graph graph = Fusion.apply(built.graph(), built.weights(), op -> Support.YES);
            List<Step> all = Lowering.lower(
                            graph, built.weights(), new Activations(null, graph), (weights, bytesFor) -> 8, H200, true)
                    .steps();
            return new Model(graph, Pruning.steps(graph, all, graph.output(Graph.LOGITS)));
        }

        List<Step> fused(Value output, LaunchRules rules) {
            return Layers.fuse(steps, output, rules.layers(), KvFormat.F16, 128);
        }

        List<Step> fused() {
            return fused(graph.output(Graph.LOGITS), H200);
        }
    }

    private static Stream<Node> nodes(Step step) {
        List<Emission.Done> later = switch (step) {
            case LayerSteps.Attention a -> a.later();
            case LayerSteps.Mlp m -> m.later();
            default -> List.of();
        };
        return Stream.concat(Stream.of(step.node()), later.stream().map(Emission.Done::node));
    }

    private static <T> List<T> only(Class<T> kind, List<Step> steps) {
        return steps.stream().filter(kind::isInstance).map(kind::cast).toList();
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "F16", "BF16"})
    void everyLayerOfAModelOfPlainFormatsIsTwoLaunches(WeightFormat format) {
        everyLayerIsTwoLaunches(List.of(
                KitModels.gpt(format), KitModels.llama(format), KitModels.gptSmall(format), KitModels.llamaSmall(format)));
    }

    @ParameterizedTest
    @EnumSource(names = {"Q8_0", "Q4_0", "Q4_1"})
    void everyLayerOfAModelOfBlockFormatsIsTwoLaunchesWhereHeadsAndTheStreamAreWholeTiles(WeightFormat format) {
        everyLayerIsTwoLaunches(List.of(
                KitModels.gptOfTiles(format),
                KitModels.llamaOfTiles(format),
                KitModels.gptOfWideHeads(format),
                KitModels.llamaOfWideHeads(format)));
    }

    private static void everyLayerIsTwoLaunches(List<GraphOf.Built> models) {
        for (GraphOf.Built built : models) {
            Model model = Model.of(built);
            List<Step> fused = model.fused();
            List<LayerSteps.Attention> attentions = only(LayerSteps.Attention.class, fused);
            List<LayerSteps.Mlp> mlps = only(LayerSteps.Mlp.class, fused);
            assertThat(attentions).hasSize(2);
            assertThat(attentions.get(0).before()).as("the first layer reads what the embedding wrote").isNull();
            assertThat(attentions.get(1).before()).isSameAs(mlps.get(0));
            assertThat(mlps).extracting(LayerSteps.Mlp::ends).containsExactly(false, true);
            assertThat(attentions).allSatisfy(a -> assertThat(a.later().stream().filter(Emission.Done::marked).map(Emission.Done::node))
                    .as("kernels of attention raise three marks")
                    .containsExactly(a.attention().node(), a.o().node()));
            assertThat(mlps).allSatisfy(m -> assertThat(m.later().stream().filter(Emission.Done::marked).map(Emission.Done::node))
                    .containsExactly(m.down().node()));
            assertThat(Stream.concat(
                            attentions.stream().map(a -> a.rule().geometry()), mlps.stream().map(m -> m.rule().geometry())))
                    .as("blocks of one launch leave room for those of the next")
                    .allMatch(Geometry::allShared);
            assertThat(only(AttentionStep.class, fused)).isEmpty();
            assertThat(only(LinearStep.class, fused)).as("the head").hasSize(1);
            assertThat(fused.stream().flatMap(LayersTest::nodes).toList())
                    .as("every node is still somebody's, in the graph's order")
                    .containsExactlyElementsOf(model.steps.stream().map(Step::node).toList());
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"Q8_0", "Q4_0"})
    void blockFormatsOfOtherHeadsKeepTheirLaunches(WeightFormat format) {
        Model model = Model.of(KitModels.llama(format));
        assertThat(model.fused()).isEqualTo(model.steps);
    }

    @Test
    void devicesWithoutClustersKeepTheirLaunches() {
        Model model = Model.of(KitModels.gpt(WeightFormat.F32));
        LaunchRules other = new LaunchRules(132, SHARED_OF_HOPPER, false, Clusters.NONE);
        assertThat(model.fused(model.graph.output(Graph.LOGITS), other)).isEqualTo(model.steps);
    }

    @Test
    void whatIsAskedForInsideALayerIsComputed() {
        Model model = Model.of(KitModels.gpt(WeightFormat.F32));
        List<LayerSteps.Attention> layers = only(LayerSteps.Attention.class, model.fused());
        for (Value inside : List.of(layers.getFirst().qkv().node().output(), layers.getFirst().o().node().output())) {
            List<Step> fused = model.fused(inside, H200);
            assertThat(only(LayerSteps.Attention.class, fused)).as("only the other layer").hasSize(1);
            assertThat(fused).anyMatch(step -> step.node().output().equals(inside));
        }
        Value between = only(LayerSteps.Mlp.class, model.fused()).getFirst().down().node().output();
        assertThat(only(LayerSteps.Mlp.class, model.fused(between, H200)))
                .as("the sum of the first layer's parts")
                .extracting(LayerSteps.Mlp::ends)
                .containsExactly(true, true);
    }

    private static Matrix matrix(int rows, int columns, Format format) {
        return new Matrix(0, 0, rows, columns, format);
    }

    private static LayerRules.Attention attention(int width, int heads, int dim, Format format) {
        Op.Attention op = new Op.Attention(0, heads, heads, dim, 1, true, 0);
        return H200.layers().attention(matrix(3 * heads * dim, width, format), matrix(width, heads * dim, format), op, KvFormat.F16, 128);
    }

    private static LayerRules.Attention attention(int width, int heads, int kvHeads, Format format, KvFormat kv, int reach) {
        return attention(width, heads, kvHeads, 64, format, kv, reach);
    }

    private static LayerRules.Attention attention(
            int width, int heads, int kvHeads, int dim, Format format, KvFormat kv, int reach) {
        Op.Attention op = new Op.Attention(0, heads, kvHeads, dim, 1, true, 0);
        return H200.layers()
                .attention(matrix((heads + 2 * kvHeads) * dim, width, format), matrix(width, heads * dim, format), op, kv, reach);
    }

    private static LayerRules.Mlp mlp(int width, int hidden, boolean gated, Format format) {
        return H200.layers().mlp(matrix(gated ? 2 * hidden : hidden, width, format), matrix(width, hidden, format), gated);
    }

    @Test
    void layersOfBlockFormatsAreCutAsTheirTilesAre() {
        LayerRules.Attention llama = attention(2048, 32, 8, Format.Q4_0, KvFormat.F16, 2048);
        assertThat(llama.geometry().gridX()).as("two heads a cluster").isEqualTo(16);
        assertThat(llama.geometry().gridZ()).as("two column tiles a block").isEqualTo(8);
        assertThat(llama.kernel()).isEqualTo("_f16_2");
        LayerRules.Mlp units = mlp(2048, 8192, true, Format.Q4_0);
        assertThat(units.parts()).as("one block a multiprocessor").isEqualTo(15);
        assertThat(units.units()).isEqualTo(576);
        assertThat(units.geometry().sharedBytes()).as("no room for two").isGreaterThan(SHARED_OF_HOPPER / 2);
        assertThat(units.geometry().sharedBytes() + llama.geometry().sharedBytes())
                .as("but for one of each, what they declare themselves, and what the device takes")
                .isLessThan(SHARED_OF_HOPPER + 1024 - 9 * 1024);
        assertThat(attention(2048, 32, 8, Format.Q4_0, KvFormat.F16, 4096)).as("five launches are faster in a long context").isNull();
        LayerRules.Attention gpt = attention(768, 12, 12, Format.Q8_0, KvFormat.F32, 1024);
        assertThat(gpt.geometry().gridX()).isEqualTo(6);
        assertThat(gpt.geometry().gridZ()).as("a column tile a block").isEqualTo(6);
        assertThat(gpt.kernel()).as("each head has keys of its own").isEqualTo("_f32_1");
        assertThat(mlp(768, 3072, false, Format.Q8_0).parts()).isEqualTo(12);
        assertThat(attention(4096, 64, 64, Format.Q4_0, KvFormat.F16, 128)).as("heads of 64, wider than two tiles a block").isNull();
        assertThat(attention(1152, 18, 18, Format.Q4_0, KvFormat.F16, 128)).as("nine column tiles").isNull();
        assertThat(attention(768, 12, 4, Format.Q4_0, KvFormat.F16, 128)).as("two heads that may have different keys").isNull();
        assertThat(attention(768, 12, 96, Format.Q8_0)).as("heads of 96").isNull();
    }

    @ParameterizedTest
    @EnumSource(names = {"Q8_0", "Q4_0", "Q4_1"})
    void wideLayersOfBlockFormatsFindAMultiprocessorForEachOfTheirBlocks(Format format) {
        LayerRules.Attention llama2 = attention(4096, 32, 32, 128, format, KvFormat.F16, 128);
        assertThat(llama2.geometry().gridX()).as("two heads a cluster").isEqualTo(16);
        assertThat(llama2.geometry().gridZ()).as("sixteen clusters of seven would share multiprocessors").isEqualTo(6);
        assertThat(llama2.kernel()).isEqualTo("_f16_wide_1");
        assertThat(attention(4096, 32, 32, 128, format, KvFormat.F16, 2048) == null)
                .as("after 1920 positions five launches are faster with int8")
                .isEqualTo(format == Format.Q8_0);
        LayerRules.Attention shared = attention(3072, 24, 4, 128, format, KvFormat.F32, 128);
        assertThat(shared.geometry().gridX()).isEqualTo(12);
        assertThat(shared.geometry().gridZ()).isEqualTo(8);
        assertThat(shared.kernel()).isEqualTo("_f32_wide_2");
        LayerRules.Mlp units = mlp(4096, 11008, true, format);
        assertThat(units.parts()).isEqualTo(15);
        assertThat(units.units()).as("whole column tiles").isEqualTo(768);
        assertThat(units.kernel()).isEqualTo("_wide");
        int declared = 11 * 1024 + 2 * 1024; // by both kernels, and what the device takes for a block
        assertThat(2 * units.geometry().sharedBytes() + declared).as("no room for two").isGreaterThan(SHARED_OF_HOPPER + 1024);
        assertThat(units.geometry().sharedBytes() + llama2.geometry().sharedBytes() + declared)
                .as("but for one of each")
                .isLessThanOrEqualTo(SHARED_OF_HOPPER + 1024);
        assertThat(mlp(2304, 4096, true, format)).as("18 column tiles").isNull();
        assertThat(mlp(8192, 4096, true, format)).isNull();
        assertThat(attention(5120, 40, 40, 128, format, KvFormat.F16, 128)).as("wider than four tiles a block").isNull();
    }

    @Test
    void launchesOfBlockFormatsFitTheDevice() {
        int possible = 0;
        for (Format format : List.of(Format.Q8_0, Format.Q4_0, Format.Q4_1)) {
            for (int width = 128; width <= 4096; width += 128) {
                for (int hidden = 32; hidden <= 16384; hidden = hidden * 7 / 4 / 32 * 32 + 32) {
                    for (boolean gated : new boolean[] {false, true}) {
                        LayerRules.Mlp mlp = mlp(width, hidden, gated, format);
                        if (mlp == null) {
                            continue;
                        }
                        possible++;
                        String what = format + ", " + width + " to " + hidden + (gated ? ", gated" : "");
                        int blocks = mlp.geometry().gridZ();
                        int tiles = width / 128 / blocks;
                        assertThat(blocks * tiles * 128).as(what + ": columns of all blocks").isEqualTo(width);
                        assertThat(tiles).as(what).isIn(1, 2, 4);
                        assertThat(mlp.parts()).as(what + ": what 256 threads sum up, four or eight parts each").isBetween(1, tiles == 1 ? 32 : 16);
                        assertThat(mlp.units() % (tiles == 4 ? 128 : 32)).as(what).isZero();
                        if (tiles == 4) {
                            assertThat(mlp.units()).as(what + ": digits of ten tiles").isLessThanOrEqualTo(1280);
                        } else {
                            assertThat(mlp.units() + 96).as(what + ": digits of eight tiles").isLessThanOrEqualTo(1024);
                        }
                        assertThat(mlp.units() * mlp.parts()).as(what + ": units of all clusters").isBetween(hidden, hidden + mlp.units() - 1);
                        assertThat(mlp.geometry().sharedBytes()).as(what).isLessThan(SHARED_OF_HOPPER - 5 * 1024);
                    }
                }
            }
        }
        assertThat(possible).isGreaterThan(100);
    }

    @Test
    void launchesFitTheDevice() {
        List<Integer> seen = new ArrayList<>();
        for (Format format : List.of(Format.F32, Format.F16, Format.BF16)) {
            for (int width = 32; width <= 1024; width += 32) {
                for (int hidden = 8; hidden <= 8192; hidden = hidden * 7 / 4 / 8 * 8 + 8) {
                    for (boolean gated : new boolean[] {false, true}) {
                        String what = format + ", " + width + " to " + hidden + (gated ? ", gated" : "");
                        LayerRules.Mlp mlp = H200.layers()
                                .mlp(matrix(gated ? 2 * hidden : hidden, width, format), matrix(width, hidden, format), gated);
                        if (mlp == null) {
                            continue;
                        }
                        seen.add(mlp.parts());
                        assertThat(mlp.geometry().sharedBytes()).as(what).isLessThan(SHARED_OF_HOPPER - 5 * 1024);
                        assertThat(mlp.units() % 8).as(what).isZero();
                        assertThat(mlp.parts()).as(what).isBetween(1, LayerRules.MOST_PARTS);
                        assertThat(mlp.units() * mlp.parts()).as(what + ": units of all clusters").isBetween(hidden, hidden + mlp.units() - 1);
                        int weights = (format == Format.F32 ? 4 : 2) * width * mlp.units() / 8 * (gated ? 3 : 2);
                        assertThat(mlp.geometry().sharedBytes()).as(what + ": room for the weights").isGreaterThan(weights);
                    }
                }
            }
        }
        assertThat(seen).as("clusters of small and of large matrices").contains(1, 12, 16);
    }

    @Test
    void modelsThatAClusterCannotHoldKeepTheirLaunches() {
        assertThat(attention(768, 12, 64, Format.BF16).geometry().gridX()).as("GPT-2: a cluster a head").isEqualTo(12);
        assertThat(attention(1024, 16, 64, Format.BF16)).isNotNull();
        assertThat(attention(1024, 16, 64, Format.F32)).as("16 clusters of large blocks are more than run at once").isNull();
        assertThat(attention(1280, 20, 64, Format.BF16)).as("wider than the lanes of eight blocks").isNull();
        assertThat(H200.layers().mlp(matrix(3072, 768, Format.BF16), matrix(768, 3072, Format.BF16), false).parts()).isEqualTo(16);
        assertThat(H200.layers().mlp(matrix(3072, 768, Format.F32), matrix(768, 3072, Format.F32), false).parts()).isEqualTo(12);
        assertThat(H200.layers().mlp(matrix(16384, 1024, Format.BF16), matrix(1024, 16384, Format.BF16), false)).isNull();
    }
}
