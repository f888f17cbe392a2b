package dev.millrace.core.sampling;

import java.util.Arrays;
import java.util.function.IntUnaryOperator;

/**
 * Draws tokens; the definition that every device follows. Of the tokens that the filters of {@link Sampling} leave, the
 * one with the highest {@code score + Gumbel(seed, position, token)} is taken, which is a draw from their softmax (the
 * Gumbel-max trick) and needs no order among them.
 *
 * <p>Holds work space for one vocabulary and allocates nothing after construction. Not safe for several threads.
 */
public final class Sampler {
    private final int vocab;
    private final float[] scores;
    private final int[] seen;
    private final int[] heap;
    private int round;

    /** @param vocab number of tokens */
    public Sampler(int vocab) {
        this.vocab = vocab;
        this.scores = new float[vocab];
        this.seen = new int[vocab];
        this.heap = new int[vocab];
    }

    /**
     * Draws the token of {@code position}.
     *
     * @param logits one score per token, from {@code offset}
     * @param history the tokens of positions 0 to {@code position - 1}
     */
    public int sample(float[] logits, int offset, Sampling sampling, IntUnaryOperator history, int position) {
        System.arraycopy(logits, offset, scores, 0, vocab);
        penalize(sampling.repeatPenalty(), history, position);
        if (sampling.greedy()) {
            return highest();
        }
        float scale = 1 / sampling.temperature();
        for (int i = 0; i < vocab; i++) {
            scores[i] *= scale;
        }
        int kept = sampling.topK() > 0 && sampling.topK() < vocab ? keepHighest(sampling.topK()) : keepAll();
        if (sampling.topP() < 1) {
            kept = keepProbable(kept, sampling.topP());
        }
        return draw(kept, sampling.minP(), CounterRng.key(sampling.seed(), position));
    }

    private void penalize(float penalty, IntUnaryOperator history, int position) {
        if (penalty == 1) {
            return;
        }
        if (++round == 0) {
            Arrays.fill(seen, 0);
            round = 1;
        }
        for (int p = 0; p < position; p++) {
            int token = history.applyAsInt(p);
            if (seen[token] != round) {
                seen[token] = round;
                scores[token] = scores[token] > 0 ? scores[token] / penalty : scores[token] * penalty;
            }
        }
    }

    private int highest() {
        int best = 0;
        for (int i = 1; i < vocab; i++) {
            if (scores[i] > scores[best]) {
                best = i;
            }
        }
        return best;
    }

    private int keepAll() {
        for (int i = 0; i < vocab; i++) {
            heap[i] = i;
        }
        return vocab;
    }

    /** Leaves the k highest in the heap, the least of them on top. */
    private int keepHighest(int k) {
        for (int i = 0; i < k; i++) {
            heap[i] = i;
        }
        for (int i = k / 2 - 1; i >= 0; i--) {
            sink(i, k, false);
        }
        for (int i = k; i < vocab; i++) {
            if (scores[i] > scores[heap[0]]) {
                heap[0] = i;
                sink(0, k, false);
            }
        }
        return k;
    }

    /** Leaves the most probable whose probabilities reach p at the end of the heap's first {@code kept}; moves them to the front. */
    private int keepProbable(int kept, float p) {
        for (int i = kept / 2 - 1; i >= 0; i--) {
            sink(i, kept, true);
        }
        float top = scores[heap[0]];
        double total = 0;
        for (int i = 0; i < kept; i++) {
            total += Math.exp(scores[heap[i]] - top);
        }
        double reached = 0;
        int left = kept;
        while (left > 0 && reached < p * total) {
            int token = heap[0];
            heap[0] = heap[--left];
            heap[left] = token;
            sink(0, left, true);
            reached += Math.exp(scores[token] - top);
        }
        System.arraycopy(heap, left, heap, 0, kept - left);
        return kept - left;
    }

    private int draw(int kept, float minP, long key) {
        float top = Float.NEGATIVE_INFINITY;
        for (int i = 0; i < kept; i++) {
            top = Math.max(top, scores[heap[i]]);
        }
        float least = minP > 0 ? top + (float) Math.log(minP) : Float.NEGATIVE_INFINITY;
        int best = heap[0];
        float bestScore = Float.NEGATIVE_INFINITY;
        for (int i = 0; i < kept; i++) {
            int token = heap[i];
            if (scores[token] >= least) {
                float score = scores[token] + CounterRng.gumbel(key, token);
                if (score > bestScore || (score == bestScore && token < best)) {
                    best = token;
                    bestScore = score;
                }
            }
        }
        return best;
    }

    /** Restores the heap below i: the highest on top where {@code descending}, else the lowest; the lower id is the higher. */
    private void sink(int i, int size, boolean descending) {
        int token = heap[i];
        while (2 * i + 1 < size) {
            int child = 2 * i + 1;
            if (child + 1 < size && above(heap[child + 1], heap[child]) == descending) {
                child++;
            }
            if (above(heap[child], token) != descending) {
                break;
            }
            heap[i] = heap[child];
            i = child;
        }
        heap[i] = token;
    }

    private boolean above(int a, int b) {
        return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
    }
}
