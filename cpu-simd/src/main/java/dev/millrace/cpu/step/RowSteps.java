package dev.millrace.cpu.step;

import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Op;
import dev.millrace.cpu.attention.Rotation;
import dev.millrace.cpu.math.Elementwise;

/** Steps that look at one row, or one element, at a time. */
public final class RowSteps {
    /** Elements are dealt out in runs of 64: whole cache lines, whole vectors. */
    private static final int RUN = 64;

    private RowSteps() {}

    /** {@link Op.Norm}. */
    public record Norm(Normalizer norm, Buffer x, Buffer y, int width) implements Step {
        @Override
        public void run(Chunk chunk, int first, int rows, int worker, int workers) {
            int end = Step.share(rows, 1, worker + 1, workers);
            for (int t = Step.share(rows, 1, worker, workers); t < end; t++) {
                norm.apply(x.data(), t * width, y.data(), t * width, width);
            }
        }
    }

    /** {@link Op.Rope}. */
    public record Rope(Rotation rotation, Buffer x, Buffer y, int width) implements Step {
        @Override
        public void run(Chunk chunk, int first, int rows, int worker, int workers) {
            int end = Step.share(rows, 1, worker + 1, workers);
            int headDim = rotation.rope().headDim();
            for (int t = Step.share(rows, 1, worker, workers); t < end; t++) {
                for (int at = t * width; at < (t + 1) * width; at += headDim) {
                    rotation.rotate(t, x.data(), at, y.data(), at);
                }
            }
        }
    }

    /** {@link Op.Activation}. */
    public record Activation(Act act, Buffer x, Buffer y, int width) implements Step {
        @Override
        public void run(Chunk chunk, int first, int rows, int worker, int workers) {
            int from = Step.share(rows * width, RUN, worker, workers);
            int to = Step.share(rows * width, RUN, worker + 1, workers);
            Elementwise.activate(act, x.data(), from, y.data(), from, to - from);
        }
    }

    /** {@link Op.Gate}. */
    public record Gate(Act act, Buffer gate, Buffer up, Buffer y, int width) implements Step {
        @Override
        public void run(Chunk chunk, int first, int rows, int worker, int workers) {
            int from = Step.share(rows * width, RUN, worker, workers);
            int to = Step.share(rows * width, RUN, worker + 1, workers);
            Elementwise.gate(act, gate.data(), from, up.data(), from, y.data(), from, to - from);
        }
    }

    /** {@link Op.Add}. */
    public record Add(Buffer a, Buffer b, Buffer y, int width) implements Step {
        @Override
        public void run(Chunk chunk, int first, int rows, int worker, int workers) {
            int from = Step.share(rows * width, RUN, worker, workers);
            int to = Step.share(rows * width, RUN, worker + 1, workers);
            Elementwise.add(a.data(), from, b.data(), from, y.data(), from, to - from);
        }
    }

    /** {@link Op.Permute}. */
    public record Permute(int[] order, Buffer x, Buffer y) implements Step {
        @Override
        public void run(Chunk chunk, int first, int rows, int worker, int workers) {
            int width = order.length;
            int end = Step.share(rows, 1, worker + 1, workers);
            for (int t = Step.share(rows, 1, worker, workers); t < end; t++) {
                for (int i = 0; i < width; i++) {
                    y.data()[t * width + i] = x.data()[t * width + order[i]];
                }
            }
        }
    }

    /** {@link Op.Select}. */
    public record Select(Buffer x, Buffer y, int width) implements Step {
        @Override
        public void run(Chunk chunk, int first, int rows, int worker, int workers) {
            int end = Step.share(rows, 1, worker + 1, workers);
            for (int i = Step.share(rows, 1, worker, workers); i < end; i++) {
                System.arraycopy(x.data(), chunk.selectedRow(first + i) * width, y.data(), i * width, width);
            }
        }
    }

    /** {@link Op.Pool}: one row for each piece, which is a whole sequence. */
    public record Pool(Op.Pooling pooling, Buffer x, Buffer y, int width) implements Step {
        @Override
        public void run(Chunk chunk, int first, int rows, int worker, int workers) {
            int end = Step.share(rows, 1, worker + 1, workers);
            for (int piece = Step.share(rows, 1, worker, workers); piece < end; piece++) {
                pool(chunk.row(piece), chunk.count(piece), piece);
            }
        }

        private void pool(int row, int count, int piece) {
            float[] out = y.data();
            int at = piece * width;
            System.arraycopy(x.data(), row * width, out, at, width);
            for (int t = row + 1; t < row + count; t++) {
                switch (pooling) {
                    case CLS -> {
                        return;
                    }
                    case MEAN -> Elementwise.add(out, at, x.data(), t * width, out, at, width);
                    case MAX -> max(out, at, x.data(), t * width);
                }
            }
            if (pooling == Op.Pooling.MEAN) {
                Elementwise.scale(out, at, width, 1f / count);
            }
        }

        private void max(float[] out, int at, float[] more, int moreAt) {
            for (int i = 0; i < width; i++) {
                out[at + i] = Math.max(out[at + i], more[moreAt + i]);
            }
        }
    }

    /** The cosines and sines of the chunk's tokens, for the steps that rotate. */
    public record Rotate(Rotation rotation) implements Step {
        @Override
        public void ready(Chunk chunk) {
            rotation.ensure(chunk.tokens());
        }

        @Override
        public void run(Chunk chunk, int first, int rows, int worker, int workers) {
            if (rotation.rope().frequencies().dependsOnLength()) {
                if (worker == 0) {
                    inOrder(chunk);
                }
                return;
            }
            int end = Step.share(rows, 1, worker + 1, workers);
            for (int t = Step.share(rows, 1, worker, workers); t < end; t++) {
                rotation.prepare(t, chunk.position(t));
            }
        }

        private void inOrder(Chunk chunk) {
            for (int piece = 0; piece < chunk.pieces(); piece++) {
                rotation.length(chunk.length(piece));
                for (int t = chunk.row(piece); t < chunk.row(piece) + chunk.count(piece); t++) {
                    rotation.prepare(t, chunk.position(t));
                }
            }
        }
    }
}
