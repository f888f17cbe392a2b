package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;

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

    @RepeatedTest(200)
    void vectorLaunchesCoverEveryRowWithWholeSlices(RepetitionInfo repetition) {
        long seed = repetition.getCurrentRepetition();
        Random random = new Random(seed);
        Format format = Format.values()[random.nextInt(Format.values().length)];
        int rows = 1 + random.nextInt(random.nextBoolean() ? 100 : 130_000);
        int columns = format.quantized() ? 32 * (1 + random.nextInt(400)) : 1 + random.nextInt(12_000);
        int m = 1 + random.nextInt(LaunchRules.FEW);
        int shared = random.nextBoolean() ? SHARED_OF_HOPPER : SHARED_OF_SMALL_CARDS;
        LaunchRules rules = new LaunchRules(1 + random.nextInt(200), shared);
        LaunchRules.Vector vector = rules.vector(new Matrix(0, 0, rows, columns, format), m);
        String what = "seed " + seed + ": " + format + " " + rows + " x " + columns + ", m " + m + ": " + vector;
        assertThat(8 % vector.slices()).as(what).isZero();
        assertThat(vector.geometry().gridX()).as(what).isPositive();
        assertThat(vector.geometry().sharedBytes()).as(what).isBetween(1, shared);
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
        LaunchRules rules = new LaunchRules(1 + random.nextInt(200), shared);
        LaunchRules.Product product =
                rules.product(new Matrix(0, 0, rows, columns, format), m, random.nextBoolean(), strict);
        Geometry g = product.geometry();
        String what = "seed " + seed + ": " + format + " " + rows + " x " + columns + ", m " + m + ": " + product;
        int tile = product.kernel().endsWith("_small") ? 64 : 128;
        assertThat(g.gridX() * tile).as(what).isGreaterThanOrEqualTo(m);
        assertThat(g.gridY() * tile).as(what).isGreaterThanOrEqualTo(rows);
        assertThat(g.sharedBytes()).as(what).isLessThanOrEqualTo(shared);
        if (g.gridZ() > 1) {
            long work = 4L * g.gridX() * g.gridY() * g.gridZ() * tile * tile;
            assertThat(work).as(what).isLessThanOrEqualTo(rules.productWork(format == Format.F32 && strict));
        }
        assertThat(Kernels.index()).as(what).containsKey(product.kernel());
    }

    @Test
    void attentionFitsForEveryHeadSize() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER);
        for (int dim = 1; dim <= LaunchRules.MOST_HEAD_DIM; dim++) {
            for (int ratio : new int[] {1, 2, 3, 7, 8, 12}) {
                Op.Attention op = new Op.Attention(0, 2 * ratio, 2, dim, 1, true, 0);
                for (boolean strict : new boolean[] {false, true}) {
                    Geometry g = rules.attention(op, strict, 130, 3);
                    assertThat(g.sharedBytes()).isLessThanOrEqualTo(SHARED_OF_HOPPER);
                    assertThat(g.gridX() * 64).isGreaterThanOrEqualTo(130);
                }
                int groups = AttentionStep.headGroups(op);
                assertThat(groups * LaunchRules.HEADS_PER_BLOCK).isGreaterThanOrEqualTo(op.heads());
                int splits = rules.splits(1024, 1, groups);
                assertThat(splits).isBetween(1, 64);
                assertThat(rules.attentionOfOne(op, 1, groups, splits).sharedBytes())
                        .isLessThanOrEqualTo(SHARED_OF_HOPPER);
            }
        }
    }

    @Test
    void aContextIsSplitNoFinerThanItIsLong() {
        LaunchRules rules = new LaunchRules(132, SHARED_OF_HOPPER);
        assertThat(rules.splits(128, 1, 1)).isEqualTo(2);
        assertThat(rules.splits(4096, 1, 1)).isEqualTo(64);
        assertThat(rules.splits(4096, 500, 32)).isEqualTo(1);
    }
}
