package dev.millrace.models;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;

/**
 * How well a model predicts a text.
 *
 * @param tokens how many tokens were scored
 * @param nll mean negative log likelihood of a scored token, in nats
 */
public record Perplexity(long tokens, double nll) {
    /** Rows of logits held at once. */
    private static final int ROWS = 64;

    /** exp(nll). */
    public double perplexity() {
        return Math.exp(nll);
    }

    /**
     * Scores a text in windows without overlap, the last one partial. A window starts with an empty context, and its first
     * token is not scored.
     *
     * @param window tokens of a window, from 2 to the model's context
     * @param progress receives the tokens done so far
     * @throws MillraceException when fewer than two tokens are given
     */
    public static Perplexity of(Engine engine, int[] tokens, int window, LongConsumer progress) {
        if (tokens.length < 2) {
            throw new MillraceException("the text has " + tokens.length + " tokens; perplexity needs at least 2");
        }
        int vocabulary = engine.program().graph().output(Graph.LOGITS).width();
        double sum = 0;
        long scored = 0;
        try (Session session = engine.newSession(window);
                Arena arena = Arena.ofShared()) {
            MemorySegment logits = arena.allocate(ValueLayout.JAVA_FLOAT, (long) ROWS * vocabulary);
            for (int start = 0; start + 1 < tokens.length; start += window) {
                session.truncate(0);
                int end = Math.min(tokens.length, start + window);
                for (int from = start; from + 1 < end; from += ROWS) {
                    int to = Math.min(from + ROWS, end - 1);
                    int[] chunk = Arrays.copyOfRange(tokens, from, to);
                    engine.program().forward(Batch.of(session, chunk, Rows.ALL), logits);
                    int first = from + 1;
                    double[] losses = IntStream.range(0, chunk.length)
                            .parallel()
                            .mapToDouble(row -> loss(logits, row, vocabulary, tokens[first + row]))
                            .toArray();
                    sum += Arrays.stream(losses).sum();
                    scored += losses.length;
                    progress.accept(to);
                }
            }
        }
        return new Perplexity(scored, sum / scored);
    }

    /** Negative log of the softmax probability of {@code token}. */
    private static double loss(MemorySegment logits, int row, int vocabulary, int token) {
        long at = (long) row * vocabulary;
        float top = Float.NEGATIVE_INFINITY;
        for (int i = 0; i < vocabulary; i++) {
            top = Math.max(top, logits.getAtIndex(ValueLayout.JAVA_FLOAT, at + i));
        }
        double total = 0;
        for (int i = 0; i < vocabulary; i++) {
            total += Math.exp(logits.getAtIndex(ValueLayout.JAVA_FLOAT, at + i) - top);
        }
        return Math.log(total) + top - logits.getAtIndex(ValueLayout.JAVA_FLOAT, at + token);
    }
}
