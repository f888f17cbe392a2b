package dev.millrace.cuda;

import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.RopeFrequencies;
import dev.millrace.core.graph.Value;
import java.util.List;

/** The steps that treat whole rows: lookups, norms, rotations, selection and pooling. */
final class RowSteps {
    private RowSteps() {}

    /** One table of an embedding. */
    record Table(Op.Index index, Matrix matrix, int offset) {}

    /** The sum of up to three lookups. */
    record Embedding(Node node, List<Table> tables) implements Step {
        static final int MOST = 3;

        @Override
        public void emit(Emission e) {
            if (e.shape().sampled()) {
                return;
            }
            e.begin();
            write(e);
            e.launch("embed", e.machine().rules().rows(e.rows(node.output()), 256));
        }

        /** struct EmbedArgs, without the mark. */
        void write(Emission e) {
            for (int i = 0; i < MOST; i++) {
                if (i < tables.size()) {
                    e.weight(tables.get(i).matrix());
                } else {
                    e.noWeight();
                }
            }
            for (int i = 0; i < MOST; i++) {
                e.arguments().put(i < tables.size() ? tables.get(i).index().ordinal() : 0);
            }
            for (int i = 0; i < MOST; i++) {
                e.arguments().put(i < tables.size() ? tables.get(i).offset() : 0);
            }
            Value y = node.output();
            e.arguments().put(tables.size()).put(y.width()).put(Activations.ld(y.width())).put(0);
            e.batch();
            e.arguments().put(e.address(y));
        }

        /** No lookup at all, in as many bytes. */
        static void writeNone(Emission e) {
            for (int i = 0; i < MOST; i++) {
                e.noWeight();
            }
            for (int i = 0; i < 2 * MOST + 4; i++) {
                e.arguments().put(0);
            }
            e.batch();
            e.arguments().put(0L);
        }
    }

    record Normalization(Node node, NormRef norm) implements Step {
        @Override
        public void emit(Emission e) {
            Value x = node.inputs().getFirst();
            Value y = node.output();
            launch(e, norm, e.address(x), e.address(y), e.rows(y), x.width(), e.format(y));
        }

        /** Rows to rows of another type and, where {@code norm} is not null, normalized. */
        static void launch(Emission e, NormRef norm, long from, long to, int rows, int width, Format wanted) {
            int ld = Activations.ld(width);
            e.begin();
            e.norm(norm);
            e.arguments().put(from).put(to).put(rows).put(width).put(ld).put(ld).put(wanted.code()).put(0);
            String kernel = e.machine().rules().normalize(norm, rows, width);
            e.launch(kernel, e.machine().rules().norms(kernel, rows));
        }
    }

    /** A norm that the linear map after it does; nothing of its own to launch. */
    record TakenIn(Node node) implements Step {
        @Override
        public void emit(Emission e) {}
    }

    record Rotation(Node node, RopeRef rope) implements Step {
        @Override
        public void emit(Emission e) {
            Value x = node.inputs().getFirst();
            int ld = Activations.ld(x.width());
            e.begin();
            e.batch();
            e.rope(rope);
            e.arguments().put(e.address(x)).put(e.address(node.output())).put(x.width()).put(ld).put(ld).put(0);
            e.launch("rope", e.machine().rules().rows(e.rows(x), 256));
        }
    }

    record Selection(Node node) implements Step {
        @Override
        public void emit(Emission e) {
            if (e.aliased()) {
                return;
            }
            Value x = node.inputs().getFirst();
            Value y = node.output();
            int ld = Activations.ld(x.width());
            ElementStep.write(
                    e, e.address(x), 0L, e.address(y), e.selected(), e.rows(y), x.width(), ld, ld, ld, -1);
            e.launch("select_rows", e.machine().rules().elements(e.rows(y), x.width()));
        }
    }

    record Pooling(Node node, int pooling) implements Step {
        @Override
        public void emit(Emission e) {
            Value x = node.inputs().getFirst();
            int ld = Activations.ld(x.width());
            e.begin();
            e.batch();
            e.arguments().put(e.address(x)).put(e.address(node.output())).put(x.width()).put(ld).put(ld).put(pooling);
            e.launch("pool", e.machine().rules().pool(e.rows(node.output()), x.width()));
        }
    }

    /** struct AnglesArgs, without the mark. */
    static void angles(Emission e, RopeRef.Table table) {
        RopeFrequencies.Dynamic dynamic =
                table.frequencies().scaling() instanceof RopeFrequencies.Dynamic d ? d : null;
        e.batch();
        e.arguments()
                .put(e.constant(table.inverse()))
                .put(e.machine().activations().extraAddress(table.name(), Value.Rows.TOKENS))
                .put(table.frequencies().theta())
                .put(dynamic == null ? 1.0 : dynamic.factor())
                .put(dynamic == null ? 0 : dynamic.originalPositions())
                .put(table.pairs())
                .put(table.ld())
                .put(table.frequencies().magnitude());
    }

    /** No angles, in as many bytes. */
    static void noAngles(Emission e) {
        e.batch();
        e.arguments().put(0L).put(0L).put(0.0).put(0.0).put(0).put(0).put(0).put(0f);
    }
}
