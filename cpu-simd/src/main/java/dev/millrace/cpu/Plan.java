package dev.millrace.cpu;

import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.Value.Rows;
import dev.millrace.cpu.step.Buffer;
import dev.millrace.cpu.step.Step;
import java.util.List;

/**
 * What runs to compute one output of a graph: steps on all tokens, then steps on the wanted rows (in groups, so that
 * the logits of a whole chunk never exist at once), then steps on sequences.
 *
 * @param prelude steps without a node; none depends on another, and those that need them come after a barrier
 * @param output where the wanted value is when the steps that compute it have run
 */
record Plan(List<Step> prelude, Stage tokens, Stage selected, Stage sequences, Value wanted, Buffer output) {
    /** Steps on rows of one kind, with the nodes they stand for and the buffers they write. */
    record Stage(Step[] steps, Node[] nodes, List<Buffer> buffers) {
        void ensure(int rows) {
            for (Buffer buffer : buffers) {
                buffer.ensure(rows);
            }
        }
    }

    Stage stage(Rows rows) {
        return switch (rows) {
            case TOKENS -> tokens;
            case SELECTED -> selected;
            case SEQUENCES -> sequences;
        };
    }
}
