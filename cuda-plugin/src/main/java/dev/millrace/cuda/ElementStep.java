package dev.millrace.cuda;

import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Value;

/**
 * An op that treats elements one by one: {@code activation}, {@code gate}, {@code add}, {@code permute}.
 *
 * @param kernel its name
 * @param act the code of the activation; -1 for none
 * @param index offset of the order in the program's weights; -1 for none
 */
record ElementStep(Node node, String kernel, int act, long index) implements Step {
    @Override
    public void emit(Emission e) {
        Value a = node.inputs().getFirst();
        Value b = node.inputs().getLast();
        Value y = node.output();
        write(
                e,
                e.address(a),
                e.address(b),
                e.address(y),
                index < 0 ? 0L : e.constant(index),
                e.rows(y),
                y.width(),
                Activations.ld(a.width()),
                Activations.ld(b.width()),
                Activations.ld(y.width()),
                act);
        e.launch(kernel, e.machine().rules().elements(e.rows(y), y.width()));
    }

    /** struct ElementArgs. */
    static void write(
            Emission e, long a, long b, long y, long index, int rows, int width, int lda, int ldb, int ldy, int act) {
        e.begin()
                .put(a)
                .put(b)
                .put(y)
                .put(index)
                .put(rows)
                .put(width)
                .put(lda)
                .put(ldb)
                .put(ldy)
                .put(act);
    }
}
