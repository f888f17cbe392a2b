package dev.millrace.models.verify;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Compares an executor with the reference, node by node: each node runs alone on both, with the inputs that the reference
 * computed, all tokens at once and one by one. So an error shows at the op that makes it and not at those after it, and
 * only one op's weights are laid out at a time. At the end the whole graph runs as it is.
 */
public final class Verifier {
    /** What the errors of single ops may add up to in a whole model. */
    private static final double WHOLE_MODEL = 10;

    private static final double STRICT = 1e-5;
    private static final double HALF = 3e-3;

    private final Executor tested;
    private final Executor reference;
    private final KvFormat kv;

    public Verifier(Executor tested, Executor reference, KvFormat kv) {
        this.tested = tested;
        this.reference = reference;
        this.kv = kv;
    }

    /**
     * Checks every node of {@code graph}, then its outputs.
     *
     * @param tokens one sequence
     * @param report receives each check as soon as it is made; the last ones, of the whole graph, are named by the
     *     output
     * @return whether all passed
     */
    public boolean run(Graph graph, Weights weights, int[] tokens, Consumer<OpCheck> report) {
        Map<Value, float[]> values = new HashMap<>();
        boolean passed = true;
        for (Node node : graph.nodes()) {
            List<float[]> inputs = node.inputs().stream().map(values::get).toList();
            OneOp one = OneOp.of(node, weights, tokens, inputs);
            int[] ids = one.tokens();
            float[] expected = allAtOnce(reference, one.graph(), one.weights(), OneOp.output(), ids);
            values.put(node.output(), expected);
            OpCheck.Errors prefill =
                    OpCheck.Errors.of(allAtOnce(tested, one.graph(), one.weights(), OneOp.output(), ids), expected);
            OpCheck.Errors decode =
                    one.sameOneByOne() ? OpCheck.Errors.of(oneByOne(one, expected.length), expected) : null;
            passed &= report(report, new OpCheck(
                    node.path(), node.op().getClass().getSimpleName(), prefill, decode, tolerance(node.op(), weights)));
        }
        for (String output : graph.outputs().keySet()) {
            OpCheck.Errors errors = OpCheck.Errors.of(
                    allAtOnce(tested, graph, weights, output, tokens), values.get(graph.output(output)));
            passed &= report(report, new OpCheck(
                    "(whole model) " + output, "Graph", errors, null, WHOLE_MODEL * tolerance(graph, weights)));
        }
        return passed;
    }

    private static boolean report(Consumer<OpCheck> report, OpCheck check) {
        report.accept(check);
        return check.passed();
    }

    private float[] allAtOnce(Executor executor, Graph graph, Weights weights, String output, int[] tokens) {
        Value value = graph.output(output);
        int rows = value.rows() == Value.Rows.SEQUENCES ? 1 : tokens.length;
        float[] result = new float[rows * value.width()];
        try (Program program = executor.compile(graph, weights, CompileOptions.DEFAULT);
                Session session = program.newSession(tokens.length, kv)) {
            Slice slice = new Slice(session, tokens, Rows.ALL);
            program.forward(new Batch(List.of(slice), output), MemorySegment.ofArray(result));
        }
        return result;
    }

    private float[] oneByOne(OneOp one, int elements) {
        int[] tokens = one.tokens();
        float[] result = new float[elements];
        int width = elements / tokens.length;
        try (Program program = tested.compile(one.graph(), one.weights(), CompileOptions.DEFAULT);
                Session session = program.newSession(tokens.length, kv)) {
            for (int i = 0; i < tokens.length; i++) {
                Slice slice = new Slice(session, Arrays.copyOfRange(tokens, i, i + 1), Rows.ALL);
                float[] row = new float[width];
                program.forward(new Batch(List.of(slice), OneOp.output()), MemorySegment.ofArray(row));
                System.arraycopy(row, 0, result, i * width, width);
            }
        }
        return result;
    }

    private double tolerance(Graph graph, Weights weights) {
        return graph.nodes().stream().mapToDouble(node -> tolerance(node.op(), weights)).max().orElse(0);
    }

    /**
     * Relative error allowed to an op. Beside float32 everything stays float32, unless TF32, with the mantissa of a
     * 16-bit float, was asked for; beside a 16-bit format activations may be rounded to it, beside block formats to 8-bit
     * integers.
     */
    private double tolerance(Op op, Weights weights) {
        return switch (op) {
            case Op.Linear l -> tolerance(weights.get(l.weight()).format());
            case Op.FusedLinear f -> f.parts().stream()
                    .mapToDouble(part -> tolerance(weights.get(part.weight()).format()))
                    .max()
                    .orElseThrow();
            case Op.Attention a -> tolerance(kv == KvFormat.F16 ? WeightFormat.F16 : WeightFormat.F32);
            case Op.SelfAttention s -> tolerance(kv == KvFormat.F16 ? WeightFormat.F16 : WeightFormat.F32);
            default -> STRICT;
        };
    }

    private double tolerance(WeightFormat format) {
        return switch (format) {
            case F32 -> tested.math() == ExecutorOptions.Math.F32 ? STRICT : HALF;
            case F16, BF16 -> HALF;
            default -> 1.5e-2;
        };
    }
}
