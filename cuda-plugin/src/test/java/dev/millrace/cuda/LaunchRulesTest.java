package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Op;
import dev.millrace.cuda.driver.Geometry;
import java.util.Random;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;

/** Launches stay inside what every supported card allows. */
class LaunchRulesTest {
    private static final int SHARED_OF_HOPPER = 227 * 1024;

    /** Of compute capability 8.6, 8.9 and 12.0. */
    private static final int SHARED_OF_SMALL_CARDS = 99 * 1024;

    /** How many clusters of 2 to 8 blocks of decoding one H200 ran at once, two blocks a multiprocessor. */
    private static final Clusters CLUSTERS_OF_H200 =
            new Clusters(new int[] {0, 0, 132, 79, 62, 47, 39, 32, 30}, new int[] {0, 0, 66, 39, 30, 22, 17, 15, 15});

    /** Rules of a card of any size, with clusters or without. */
    private static LaunchRules rules(Random random, int shared) {
        int multiprocessors = 1 + random.nextInt(200);
        boolean tiles = shared == SHARED_OF_HOPPER && random.nextBoolean();
        Clusters clusters = tiles
                ? Clusters.of(g -> random.nextInt(2 * multiprocessors / g.cluster() + 1))
                : Clusters.NONE;
        return new LaunchRules(multiprocessors, shared, tiles, clusters);
    }

    @RepeatedTest(200)
    void vectorLaunchesCoverEveryRowWithWholeSlices(RepetitionInfo repetition) {
        long seed = repetition.getCurrentRepetition();
        Random random = new Random(seed);
        Format format = Format.values()[random.nextInt(Format.values().length)];
        int rows = 1 + random.nextInt(random.nextBoolean() ? 100 : 130_000);
        int columns = format.quantized() ? 32 * (1 + random.nextInt(400)) : 1 + random.nextInt(12_000);
        int m = 1 + random.nextInt(LaunchRules.FEW);
        int shared = random.nextBoolean() ? SHARED_OF_HOPPER : SHARED_OF_SMALL_CARDS;
        LaunchRules rules = rules(random, shared);
        VectorRules.Vector vector = rules.vectors().of(new Matrix(0, 0, rows, columns, format), m);
        String what = "seed " + seed + ": " + format + " " + rows + " x " + columns + ", m " + m + ": " + vector;
        int warps = vector.geometry().block() / 32;
        assertThat(Kernels.index()).as(what).containsKey(vector.kernel());
        assertThat(warps).as(what).isEqualTo(8);
        if (format.quantized() && m == 1) {
            Geometry g = vector.geometry();
            int units = Math.ceilDiv(rows, 16);
            int more = units - vector.slices() * g.gridX();
            assertThat(vector.kernel()).as(what).doesNotContain("_many").doesNotContain("_two");
            assertThat(more).as(what + ": row tiles left over, at most one a cluster").isBetween(0, g.gridX() - 1);
            assertThat(vector.slices() + (more > 0 ? 1 : 0)).as(what + ": row tiles of a cluster").isBetween(1, 128);
            assertThat(g.gridZ()).as(what).isEqualTo(g.cluster()).isIn(1, 2, 4).isLessThanOrEqualTo(Math.ceilDiv(columns, 128));
        } else if (vector.kernel().endsWith("_one")) {
            Geometry g = vector.geometry();
            assertThat(m).as(what).isEqualTo(1);
            int more = Math.ceilDiv(rows, 2) - vector.slices() * g.gridX();
            assertThat(more).as(what + ": pairs left over, at most one a cluster").isBetween(0, g.gridX() - 1);
            assertThat(vector.slices() + (more > 0 ? 1 : 0)).as(what + ": pairs of a cluster").isBetween(1, 1024);
            assertThat(g.gridZ()).as(what).isEqualTo(g.cluster()).isIn(1, 2);
        } else {
            assertThat(warps % vector.slices()).as(what).isZero();
        }
        if (format.quantized() && m > 1) {
            assertThat(vector.kernel()).as(what + ": more rows of inputs").endsWith(m > 2 ? "_many" : "_two");
            assertThat(vector.slices()).as(what + ": every warp has columns").isLessThanOrEqualTo(Math.ceilDiv(columns, 128));
        }
        assertThat(vector.geometry().gridX()).as(what).isPositive();
        assertThat(vector.geometry().sharedBytes()).as(what).isBetween(1, shared);
    }

    @Test
    void clustersShareTheColumnsOfOneLongRowOfBlockFormats() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);
        VectorRules.Vector down = rules.vectors().of(new Matrix(0, 0, 4096, 11008, Format.Q4_0), 1);
        assertThat(down.kernel()).isEqualTo("gemv_q4_0");
        assertThat(down.geometry().cluster()).isEqualTo(4);
        assertThat(down.geometry().gridX()).as("an eighth of the room for clusters stays free").isEqualTo(62 * 7 / 8);
        assertThat(down.slices()).isEqualTo(256 / 54);
        VectorRules.Vector head = rules.vectors().of(new Matrix(0, 0, 128_256, 2048, Format.Q4_0), 1);
        assertThat(head.geometry().cluster()).isEqualTo(2);
        assertThat(head.geometry().gridX()).as("all of the card").isEqualTo(132);
        VectorRules.Vector small = rules.vectors().of(new Matrix(0, 0, 2304, 768, Format.Q8_0), 1);
        assertThat(small.geometry().cluster()).isEqualTo(1);
        LaunchRules others = new LaunchRules(132, SHARED_OF_HOPPER, false, Clusters.NONE);
        assertThat(others.vectors().of(new Matrix(0, 0, 4096, 11008, Format.Q4_0), 1).geometry().cluster()).isEqualTo(1);
    }

    @Test
    void oneRowOfPlainFormatsHasAKernelOfItsOwnOnlyWhereItWasCompiled() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);
        VectorRules.Vector down = rules.vectors().of(new Matrix(0, 0, 4096, 11008, Format.BF16), 1);
        assertThat(down.kernel()).isEqualTo("gemv_bf16_one");
        assertThat(down.geometry().cluster()).as("long rows are shared").isEqualTo(2);
        assertThat(down.geometry().gridX()).as("of 132 clusters at once, 16 pairs each").isEqualTo(128);
        VectorRules.Vector up = rules.vectors().of(new Matrix(0, 0, 16384, 2048, Format.BF16), 1);
        assertThat(up.geometry().cluster()).isEqualTo(1);
        assertThat(up.geometry().gridX()).as("of 264 blocks at once, 32 pairs each").isEqualTo(256);
        VectorRules.Vector small = rules.vectors().of(new Matrix(0, 0, 2304, 768, Format.F32), 1);
        assertThat(small.geometry().gridX()).as("a quarter of the card stays free, shares are equal").isEqualTo(192);
        assertThat(rules.vectors().of(new Matrix(0, 0, 2304, 768, Format.F32), 2).kernel()).isEqualTo("gemv_f32");
        LaunchRules others = new LaunchRules(132, SHARED_OF_HOPPER, false, Clusters.NONE);
        assertThat(others.vectors().of(new Matrix(0, 0, 2304, 768, Format.F32), 1).kernel()).isEqualTo("gemv_f32");
    }

    @Test
    void warpsShareLongRowsOfBlockFormatsWhereInputsAreSeveral() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);
        VectorRules.Vector down = rules.vectors().of(new Matrix(0, 0, 4096, 11008, Format.Q4_0), 2);
        assertThat(down.kernel()).isEqualTo("gemv_q4_0_two");
        assertThat(down.geometry().gridX()).isEqualTo(256);
        assertThat(down.slices()).isEqualTo(8);
        VectorRules.Vector up = rules.vectors().of(new Matrix(0, 0, 16384, 2048, Format.Q4_0), 2);
        assertThat(up.slices()).isEqualTo(2);
        assertThat(rules.vectors().of(new Matrix(0, 0, 4096, 11008, Format.Q4_0), 3).kernel()).isEqualTo("gemv_q4_0_many");
    }

    @RepeatedTest(200)
    void productsCoverTheResultAndTheirSharesFitTheWorkSpace(RepetitionInfo repetition) {
        long seed = repetition.getCurrentRepetition();
        Random random = new Random(seed);
        Format format = Format.values()[random.nextInt(Format.values().length)];
        int rows = 1 + random.nextInt(random.nextBoolean() ? 300 : 60_000);
        int columns = format.quantized() ? 32 * (1 + random.nextInt(400)) : 1 + random.nextInt(12_000);
        int m = 9 + random.nextInt(2000);
        boolean strict = random.nextBoolean();
        int shared = random.nextBoolean() ? SHARED_OF_HOPPER : SHARED_OF_SMALL_CARDS;
        LaunchRules rules = rules(random, shared);
        boolean gated = random.nextBoolean();
        LaunchRules.Product product = rules.product(new Matrix(0, 0, rows, columns, format), m, gated, strict);
        Geometry g = product.geometry();
        String what = "seed " + seed + ": " + format + " " + rows + " x " + columns + ", m " + m + ": " + product;
        assertThat(Kernels.index()).as(what).containsKey(product.kernel());
        assertThat(g.sharedBytes()).as(what).isLessThanOrEqualTo(shared);
        if (product.outputs() > 0) {
            int tiles = Math.ceilDiv(m, product.tokens()) * Math.ceilDiv(rows, product.outputs());
            int steps = Math.ceilDiv(columns * (format == Format.F32 ? 4 : 2), 128);
            int share = Math.ceilDiv(steps, product.shares());
            assertThat(share * (product.shares() - 1)).as(what + ": every share has work").isLessThan(steps);
            if (product.kernel().contains("_short")) {
                assertThat(g.gridX() * product.tokens()).as(what).isGreaterThanOrEqualTo(m);
                assertThat(g.gridY() * product.outputs()).as(what).isGreaterThanOrEqualTo(gated ? (rows + 127) / 128 * 128 : rows);
                assertThat(g.gridZ()).as(what + ": shares are one cluster").isEqualTo(product.shares()).isEqualTo(g.cluster());
                return;
            }
            assertThat(g.gridX()).as(what).isLessThanOrEqualTo(tiles);
            assertThat(g.gridZ()).as(what + ": shares are one cluster").isEqualTo(product.shares()).isEqualTo(g.cluster());
            assertThat(Math.ceilDiv(rows, product.outputs()) * product.outputs())
                    .as(what + ": the padding of a gated row is written, too")
                    .isGreaterThanOrEqualTo(gated ? (rows + 127) / 128 * 128 : rows);
            if (product.shares() > 1) {
                assertThat(g.gridX()).as(what + ": a cluster makes one tile").isEqualTo(tiles);
            }
            return;
        }
        if (format == Format.F32 && strict) {
            strictProductCoversTheResult(rules, product, m, rows, columns, what);
            return;
        }
        int tile = product.kernel().endsWith("_small") ? 64 : 128;
        assertThat(g.gridX() * tile).as(what).isGreaterThanOrEqualTo(m);
        assertThat(g.gridY() * tile).as(what).isGreaterThanOrEqualTo(rows);
        if (g.gridZ() > 1) {
            long work = 4L * g.gridX() * g.gridY() * g.gridZ() * tile * tile;
            assertThat(work).as(what).isLessThanOrEqualTo(rules.productWork(false));
        }
        assertThat(Kernels.index()).as(what).containsKey(product.kernel());
    }

    private static void strictProductCoversTheResult(
            LaunchRules rules, LaunchRules.Product product, int m, int rows, int columns, String what) {
        boolean few = product.kernel().endsWith("_few");
        boolean small = product.kernel().endsWith("_small");
        int tokens = few ? 32 : small ? 64 : 128;
        int outputs = few || small ? 64 : 128;
        int step = few ? 128 : small ? 64 : 16;
        long tiles = (long) Math.ceilDiv(m, tokens) * Math.ceilDiv(rows, outputs);
        int blocks = product.geometry().gridX();
        assertThat((long) product.shares()).as(what + ": tiles shared").isBetween(0L, tiles);
        if (product.shares() == 0) {
            assertThat((long) blocks).as(what + ": a block a tile").isEqualTo(tiles);
            return;
        }
        long steps = (long) product.shares() * Math.ceilDiv(columns, step);
        assertThat(steps).as(what + ": every block has work").isGreaterThanOrEqualTo(blocks).isLessThan(1L << 31);
        assertThat(product.shares()).as(what + ": counters").isLessThanOrEqualTo(64 * 1024);
        assertThat((tiles - product.shares()) % blocks).as(what + ": whole rounds before").isZero();
        assertThat(4L * 2 * blocks * tokens * outputs).as(what + ": work").isLessThanOrEqualTo(rules.productWork(true));
    }

    @Test
    void strictProductsOfFewTokensTakeSmallTilesAndShareThem() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);
        LaunchRules.Product o = rules.product(new Matrix(0, 0, 768, 768, Format.F32), 128, false, true);
        assertThat(o.kernel()).isEqualTo("gemm_f32_few");
        assertThat(o.geometry().gridX()).isEqualTo(132);
        assertThat(o.shares()).as("all of its tiles").isEqualTo(48);
        LaunchRules.Product head = rules.product(new Matrix(0, 0, 50257, 1280, Format.F32), 1024, false, true);
        assertThat(head.kernel()).isEqualTo("gemm_f32");
        LaunchRules others = new LaunchRules(80, SHARED_OF_SMALL_CARDS, false, Clusters.NONE);
        assertThat(others.product(new Matrix(0, 0, 768, 768, Format.F32), 128, false, true).kernel()).isEqualTo("gemm_f32");
    }

    @Test
    void twoBlocksShareTheInputsOfTilesThatLeaveHalfOfTheDeviceIdle() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);
        Matrix down = new Matrix(0, 0, 1280, 5120, Format.BF16);
        LaunchRules.Product product = rules.product(down, 1024, false, false);
        assertThat(product.kernel()).isEqualTo("gemm_bf16_tiles160");
        assertThat(product.geometry()).isEqualTo(new Geometry(64, 1, 2, 384, 5 * 288 * 128 + 20480 + 128, 2));
        LaunchRules alone = new LaunchRules(132, SHARED_OF_HOPPER, true, Clusters.NONE);
        assertThat(alone.product(down, 1024, false, false).shares()).as("no room for clusters").isEqualTo(1);
    }

    @Test
    void aWarpHoldsRowsOfUpTo2048ThatAreNormalizedAsAWhole() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);
        assertThat(rules.normalize(new NormRef(0, 0, 1e-5f, 1, 768), 1024, 768)).isEqualTo("normalize_warps");
        assertThat(rules.normalize(new NormRef(0, 0, 1e-5f, 1, 1280), 1024, 1280)).isEqualTo("normalize_warps_wide");
        assertThat(rules.normalize(new NormRef(0, 0, 1e-5f, 1, 2052), 1024, 2052)).isEqualTo("normalize");
        assertThat(rules.normalize(new NormRef(0, 0, 1e-5f, 1, 1278), 1024, 1278)).isEqualTo("normalize");
        assertThat(rules.normalize(new NormRef(0, 0, 1e-5f, 1, 64), 1024, 1280)).isEqualTo("normalize");
        assertThat(rules.normalize(new NormRef(0, 0, 1e-5f, 1, 1280), 264, 1280)).as("they run at once").isEqualTo("normalize");
        assertThat(rules.normalize(null, 1024, 1280)).as("a cast").isEqualTo("normalize");
        assertThat(rules.norms("normalize_warps_wide", 1025)).isEqualTo(Geometry.of(257, 128));
        assertThat(rules.norms("normalize", 1025)).isEqualTo(Geometry.of(1025, 256));
        assertThat(Kernels.index().keySet()).contains("normalize", "normalize_warps", "normalize_warps_wide");
    }

    @Test
    void shortPromptsTakeSmallTilesAndLongOnesLargeOnes() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);
        Matrix down = new Matrix(0, 0, 2048, 8192, Format.BF16);
        assertThat(rules.product(down, 16, false, false).kernel()).isEqualTo("gemm_bf16_short32");
        assertThat(rules.product(down, 512, false, false).kernel()).startsWith("gemm_bf16_tiles");
        assertThat(rules.product(new Matrix(0, 0, 2304, 768, Format.Q4_0), 128, false, false).kernel()).startsWith("gemm_f16_short");
        LaunchRules others = new LaunchRules(132, SHARED_OF_HOPPER, false, Clusters.NONE);
        assertThat(others.product(down, 16, false, false).kernel()).isEqualTo("gemm_bf16_small");
        assertThat(others.product(new Matrix(0, 0, 2304, 768, Format.Q4_0), 128, false, false).kernel()).isEqualTo("gemm_q4_0");
    }

    @RepeatedTest(50)
    void expandingCoversAMatrixInPartsThatEndAtTilesOfEveryWidth(RepetitionInfo repetition) {
        long seed = repetition.getCurrentRepetition();
        Random random = new Random(seed);
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);
        Matrix w = new Matrix(0, 0, 1 + random.nextInt(200_000), 32 * (1 + random.nextInt(400)), Format.Q4_0);
        int step = rules.expandedRows(w);
        String what = "seed " + seed + ": " + w + ": " + step;
        assertThat(rules.expands(w.format())).isTrue();
        assertThat(2L * step * w.ld()).as(what).isEqualTo(rules.expandedBytes(w)).isLessThan(210L << 20);
        if (step < w.rows()) {
            assertThat(step % 1280).as(what).isZero();
        }
        Geometry g = rules.expand(w, Math.min(step, w.rows()));
        assertThat(g.gridY() * 16).as(what).isGreaterThanOrEqualTo(Math.min(step, w.rows()));
        assertThat(g.gridX() * 1024).as(what).isGreaterThanOrEqualTo(w.ld());
    }

    @Test
    void plainAttentionRunsInSmallBlocksUntilTheyReadTooManyKeys() {
        LaunchRules hopper = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);
        LaunchRules others = new LaunchRules(108, SHARED_OF_HOPPER, false, Clusters.NONE);
        Op.Attention gpt2 = new Op.Attention(0, 12, 12, 64, 1, true, 0);
        AttentionRules.Attend few = hopper.attention().plain(gpt2, 0, 130, 3);
        assertThat(few.kernel()).isEqualTo("attn_few");
        assertThat(few.geometry().gridY() * 16).isGreaterThanOrEqualTo(130);
        assertThat(few.geometry().gridZ()).isEqualTo(3);
        assertThat(others.attention().plain(gpt2, 0, 130, 3)).isEqualTo(few);
        assertThat(hopper.attention().plain(gpt2, 0, 1000, 1).kernel()).isEqualTo("attn_tiles64_appends");
        assertThat(others.attention().plain(gpt2, 0, 1000, 1)).as("no such kernel elsewhere").isNull();
        assertThat(hopper.attention().plain(gpt2, 4, 130, 1)).as("a cache that is not aligned").isNull();
        assertThat(hopper.attention().plain(new Op.Attention(0, 12, 12, 128, 1, true, 0), 0, 130, 1)).isNull();
        assertThat(hopper.attention().plain(new Op.Attention(0, 12, 12, 64, 1, false, 0), 0, 130, 1)).isNull();
        assertThat(Kernels.index().keySet()).contains("attn_few", "attn_tiles64_appends", "describe", "normalize_warps");
    }

    @Test
    void attentionFitsForEveryHeadSize() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);
        for (int dim = 1; dim <= AttentionRules.MOST_HEAD_DIM; dim++) {
            for (int ratio : new int[] {1, 2, 3, 7, 8, 12}) {
                Op.Attention op = new Op.Attention(0, 2 * ratio, 2, dim, 1, true, 0);
                AttentionRules.Attend many = rules.attention().ofMany(op, 130, 3);
                boolean tiles = many.kernel().startsWith("attn_tiles");
                assertThat(tiles ? many.geometry().gridY() * 128 : many.geometry().gridX() * 64).isGreaterThanOrEqualTo(130);
                assertThat(many.geometry().sharedBytes()).isLessThanOrEqualTo(SHARED_OF_HOPPER);
                for (KvFormat kv : KvFormat.values()) {
                    Geometry g = rules.attention().ofManyStrict(op, kv, 0, 130, 3).geometry();
                    assertThat(g.block() == 128 ? g.gridY() * 32 : g.gridX() * 64).isGreaterThanOrEqualTo(130);
                    assertThat(g.sharedBytes()).isLessThanOrEqualTo(SHARED_OF_HOPPER);
                }
                int groups = AttentionStep.headGroups(op);
                assertThat(groups * AttentionRules.HEADS_PER_BLOCK).isGreaterThanOrEqualTo(op.heads());
                for (int reach : new int[] {128, 1024, 8192}) {
                    Geometry g = rules.attention().ofOne(op, 1, reach);
                    assertThat(g.cluster() > 1 ? g.gridZ() : g.gridX()).isBetween(1, 64);
                    assertThat(g.gridY()).isEqualTo(groups);
                    assertThat(g.sharedBytes()).isLessThanOrEqualTo(SHARED_OF_HOPPER);
                }
            }
        }
    }

    @Test
    void strictAttentionOfHeadsOf64NeedsFloatsAtMultiplesOf16Bytes() {
        AttentionRules rules = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200).attention();
        Op.Attention gpt2 = new Op.Attention(0, 12, 12, 64, 1, true, 0);
        assertThat(rules.ofManyStrict(gpt2, KvFormat.F32, 4, 130, 3))
                .isEqualTo(new AttentionRules.Attend("attn_strict64", new Geometry(12, 5, 3, 128, 88 * 1024)));
        assertThat(rules.ofManyStrict(gpt2, KvFormat.F16, 4, 130, 3).kernel()).isEqualTo("attn_prefill_f32");
        assertThat(rules.ofManyStrict(gpt2, KvFormat.F32, 2, 130, 3).kernel()).isEqualTo("attn_prefill_f32");
        Op.Attention others = new Op.Attention(0, 12, 12, 80, 1, true, 0);
        assertThat(rules.ofManyStrict(others, KvFormat.F32, 4, 130, 3).kernel()).isEqualTo("attn_prefill_f32");
        assertThat(Kernels.index().keySet()).contains("attn_strict64", "attn_prefill_f32");
    }

    @Test
    void aContextIsSplitNoFinerThanItIsLong() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER, false, Clusters.NONE);
        Op.Attention one = new Op.Attention(0, 1, 1, 64, 1, true, 0);
        assertThat(rules.attention().ofOne(one, 1, 128).gridX()).isEqualTo(2);
        assertThat(rules.attention().ofOne(one, 1, 4096).gridX()).isEqualTo(64);
        Op.Attention many = new Op.Attention(0, 32, 32, 64, 1, true, 0);
        assertThat(rules.attention().ofOne(many, 500, 4096).gridX()).isEqualTo(1);
    }

    @Test
    void splitsThatFitTheCardAsClustersMeetInOne() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER, true, CLUSTERS_OF_H200);
        Op.Attention grouped = new Op.Attention(0, 32, 8, 64, 1, true, 0);
        Geometry meet = rules.attention().ofOne(grouped, 1, 2048);
        assertThat(meet.cluster()).isEqualTo(8).isEqualTo(meet.gridZ());
        assertThat(rules.attention().ofOne(grouped, 1, 256).cluster()).as("one share has all of it").isEqualTo(1);
        Op.Attention wide = new Op.Attention(0, 32, 32, 128, 1, true, 0);
        Geometry apart = rules.attention().ofOne(wide, 1, 2048);
        assertThat(apart.cluster()).as("32 clusters of 8 would not run at once").isEqualTo(1);
        assertThat(apart.gridX()).isEqualTo(8);
    }
}
