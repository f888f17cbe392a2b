package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Value;
import java.util.List;
import org.junit.jupiter.api.Test;

class ChunksTest {
    private static Slice slice(int tokens, Rows rows, KvFormat kv, int position) {
        CudaSession session = new CudaSession(null, 1000, kv, null, 0);
        if (position > 0) {
            session.append(new int[position]);
        }
        return new Slice(session, new int[tokens], rows);
    }

    @Test
    void aLongSliceIsCutAndOnlyItsEndHasTheLastRow() {
        Batch batch = new Batch(List.of(slice(17, Rows.LAST, KvFormat.F32, 5)), Graph.LOGITS);
        Chunks chunks = new Chunks(batch, 8, false, true);
        int[] rows = new int[3];
        int[] selected = new int[3];
        int[] context = new int[3];
        for (int i = 0; i < 3; i++) {
            assertThat(chunks.next()).isTrue();
            rows[i] = chunks.rows();
            selected[i] = chunks.selected();
            context[i] = chunks.context();
        }
        assertThat(chunks.next()).isFalse();
        assertThat(rows).containsExactly(8, 8, 1);
        assertThat(selected).containsExactly(0, 0, 1);
        assertThat(context).containsExactly(5, 13, 21);
    }

    @Test
    void slicesShareAChunkAndTheirRowsAreFound() {
        Batch batch = new Batch(
                List.of(
                        slice(3, Rows.NONE, KvFormat.F32, 0),
                        slice(4, Rows.LAST, KvFormat.F16, 0),
                        slice(5, Rows.ALL, KvFormat.F32, 0)),
                Graph.LOGITS);
        Chunks chunks = new Chunks(batch, 100, false, true);
        assertThat(chunks.next()).isTrue();
        assertThat(chunks.wanted(Value.Rows.TOKENS))
                .containsExactly(new Chunks.Run(3, 0), new Chunks.Run(6, 1), new Chunks.Run(7, 5));
        assertThat(chunks.wanted(Value.Rows.SELECTED)).containsExactly(new Chunks.Run(0, 6));
        Shape shape = chunks.shape(false);
        assertThat(shape.f32Caches()).isTrue();
        assertThat(shape.f16Caches()).isTrue();
        assertThat(shape.singles()).isFalse();
        assertThat(chunks.next()).isFalse();
    }

    @Test
    void slicesThatMustStayWholeAreNeverCut() {
        Batch batch = new Batch(
                List.of(
                        slice(5, Rows.ALL, KvFormat.F32, 0),
                        slice(6, Rows.ALL, KvFormat.F32, 0),
                        slice(20, Rows.ALL, KvFormat.F32, 0)),
                Graph.HIDDEN);
        Chunks chunks = new Chunks(batch, 8, true, false);
        for (int expected : new int[] {5, 6, 20}) {
            assertThat(chunks.next()).isTrue();
            assertThat(chunks.rows()).isEqualTo(expected);
            assertThat(chunks.sequences()).isEqualTo(1);
        }
        assertThat(chunks.next()).isFalse();
    }

    @Test
    void singleTokensOfCloseContextsHaveOneShape() {
        Shape first = shapeAt(200);
        assertThat(shapeAt(240)).isEqualTo(first);
        assertThat(shapeAt(300)).isNotEqualTo(first);
        assertThat(shapeAt(900)).isEqualTo(shapeAt(999 - 1));
    }

    private static Shape shapeAt(int position) {
        Batch batch = new Batch(List.of(slice(1, Rows.LAST, KvFormat.F16, position)), Graph.LOGITS);
        Chunks chunks = new Chunks(batch, 8, false, true);
        chunks.next();
        return chunks.shape(false);
    }
}
