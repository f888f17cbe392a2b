package dev.millrace.cuda;

import dev.millrace.cuda.LaunchRules.Costed;
import dev.millrace.cuda.LaunchRules.Product;
import dev.millrace.cuda.driver.Geometry;
import java.util.List;

/**
 * Which kernel makes a product in strict float32, and how its tiles are shared out: the cheapest by clocks fitted to
 * {@code speed calibrate-strict} of the harness. The same on every compute capability.
 */
final class StrictProducts {
    /**
     * A kernel of strict products: tiles of so many tokens and outputs, inputs in steps.
     *
     * @param together blocks that a multiprocessor holds
     * @param rate multiply-adds a lane and clock with all of these; {@code alone} of it with one
     */
    private record Kind(
            String kernel, int tokens, int outputs, int step, int threads, int shared, int together, double rate, double alone) {
        long sums() {
            return (long) tokens * outputs;
        }
    }

    private static final List<Kind> KINDS = List.of(
            new Kind("gemm_f32", 128, 128, 16, 128, 3 * 256 * 64, 2, 0.69, 0.9),
            new Kind("gemm_f32_small", 64, 64, 64, 128, 12 * 128 * 64, 2, 0.675, 0.83),
            new Kind("gemm_f32_few", 32, 64, 128, 256, 24 * 96 * 64, 1, 0.665, 1));

    private final int multiprocessors;
    private final int sharedLimit;

    /** @param sharedLimit bytes of shared memory that a block may ask for */
    StrictProducts(int multiprocessors, int sharedLimit) {
        this.multiprocessors = multiprocessors;
        this.sharedLimit = sharedLimit;
    }

    /**
     * The cheapest of the kernels whose shared memory the device has: whole tiles for blocks in turn, the last of them, or
     * all, shared out in steps among the blocks that run at once.
     */
    Product product(Matrix w, int m) {
        Costed best = null;
        for (Kind kind : KINDS) {
            if (kind.shared > sharedLimit) {
                continue;
            }
            int count = Math.ceilDiv(m, kind.tokens) * Math.ceilDiv(w.rows(), kind.outputs);
            int slots = multiprocessors * kind.together;
            Costed each = costed(kind, w, count, count, 0);
            best = best == null ? each : best.or(each);
            for (int blocks = multiprocessors; blocks <= slots; blocks += multiprocessors) {
                if (count <= blocks) {
                    best = shared(kind, w, count, blocks, count, best);
                } else if (count > slots && blocks == slots && count % slots > 0) {
                    best = shared(kind, w, count, slots, count % slots, best);
                    best = shared(kind, w, count, slots, count % slots + slots, best);
                }
            }
            for (int s = 2; count * s <= slots; s++) {
                best = shared(kind, w, count, count * s, count, best);
            }
        }
        return best.product();
    }

    /** The cheaper of {@code best} and of sharing, where every block gets two steps. */
    private Costed shared(Kind kind, Matrix w, int count, int blocks, int together, Costed best) {
        boolean worth = (long) together * Math.ceilDiv(w.columns(), kind.step) >= 2L * blocks;
        return worth ? best.or(costed(kind, w, count, blocks, together)) : best;
    }

    /** Clocks of the multiply-adds, of a round of tiles' ends, and of adding up what is shared. */
    private Costed costed(Kind kind, Matrix w, int count, int blocks, int together) {
        int steps = Math.ceilDiv(w.columns(), kind.step);
        int slots = multiprocessors * kind.together;
        double tile = steps * (kind.sums() * kind.step / (128 * kind.rate));
        int full = (count - together) / slots;
        int rest = together > 0 ? 0 : count % slots;
        int rounds = full + (together > 0 || rest > 0 ? 1 : 0);
        double cost = full * round(kind, slots, tile) + round(kind, rest, tile) + rounds * 1.87 * kind.sums();
        if (together > 0) {
            double share = Math.ceilDiv((long) together * steps, blocks) / (double) steps;
            cost += round(kind, blocks, share * tile) + 5700 + (1 / Math.min(1, share) + 1) * 0.19 * kind.sums();
        }
        Geometry g = Geometry.of(blocks, 1, kind.threads, kind.shared);
        return new Costed(new Product(kind.kernel, g, together, 0, 0), cost);
    }

    /** What {@code blocks} blocks take that run at once, in the clocks that one takes of a full multiprocessor. */
    private double round(Kind kind, int blocks, double each) {
        return blocks > multiprocessors ? kind.together * each : blocks > 0 ? each / kind.alone : 0;
    }
}
