package dev.millrace.cpu.step;

import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.Weight;
import dev.millrace.cpu.math.Elementwise;
import java.util.List;

/** {@link Op.Embed} and {@link Op.EmbedSum}: rows of tables, read where they lie and added up. */
public final class EmbedStep implements Step {
    private final List<Op.Embed> parts;
    private final Weight[] tables;
    private final Buffer y;
    private final int width;
    private final float[][] row;

    /** @param tables the tables of {@code parts} */
    public EmbedStep(List<Op.Embed> parts, List<Weight> tables, Buffer y, int width, int workers) {
        this.parts = parts;
        this.tables = tables.toArray(Weight[]::new);
        this.y = y;
        this.width = width;
        this.row = new float[workers][width];
    }

    @Override
    public void run(Chunk chunk, int first, int rows, int worker, int workers) {
        int end = Step.share(rows, 1, worker + 1, workers);
        for (int t = Step.share(rows, 1, worker, workers); t < end; t++) {
            tables[0].decodeRows(index(chunk, t, parts.get(0)), 1, y.data(), t * width);
            for (int p = 1; p < tables.length; p++) {
                tables[p].decodeRows(index(chunk, t, parts.get(p)), 1, row[worker], 0);
                Elementwise.add(y.data(), t * width, row[worker], 0, y.data(), t * width, width);
            }
        }
    }

    private static int index(Chunk chunk, int row, Op.Embed embed) {
        return embed.offset()
                + switch (embed.index()) {
                    case TOKEN -> chunk.token(row);
                    case POSITION -> chunk.position(row);
                    case TOKEN_TYPE -> chunk.type(row);
                };
    }
}
