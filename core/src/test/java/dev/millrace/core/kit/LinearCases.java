package dev.millrace.core.kit;

import static dev.millrace.core.tensor.WeightFormat.BF16;
import static dev.millrace.core.tensor.WeightFormat.F16;
import static dev.millrace.core.tensor.WeightFormat.F32;
import static dev.millrace.core.tensor.WeightFormat.Q4_0;
import static dev.millrace.core.tensor.WeightFormat.Q4_1;
import static dev.millrace.core.tensor.WeightFormat.Q8_0;

import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Act;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Op.NormKind;
import dev.millrace.core.graph.Value;
import dev.millrace.core.kit.Trial.Part;
import dev.millrace.core.tensor.WeightFormat;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/** Matrix products in every format, plain and fused, for one token and for many. */
final class LinearCases {
    private static final int[] TOKENS = {1, 2, 3, 5, 8, 17, 65, 130};
    private static final int[] OUTPUTS = {1, 5, 16, 33, 100, 259};

    private LinearCases() {}

    static final List<WeightFormat> FORMATS = List.of(F32, F16, BF16, Q8_0, Q4_0, Q4_1);

    static List<KitCase> all() {
        List<KitCase> cases = new ArrayList<>();
        for (WeightFormat format : FORMATS) {
            int[] inputs = format.quantized() ? new int[] {32, 96, 320} : new int[] {1, 7, 33, 64, 100, 257, 320};
            for (int in : inputs) {
                for (int out : OUTPUTS) {
                    cases.add(linear(format, in, out));
                }
            }
            for (NormKind kind : NormKind.values()) {
                cases.add(fused(format, kind, false, Optional.empty(), true));
                cases.add(fused(format, kind, true, Optional.of(Act.SILU), false));
                cases.add(fused(format, kind, true, Optional.of(Act.GELU_TANH), true));
            }
            for (Act act : Act.values()) {
                cases.add(fused(format, null, false, Optional.of(act), false));
            }
            cases.add(parts(List.of(format, format, format)));
        }
        cases.add(parts(List.of(Q4_0, Q8_0, F16)));
        cases.add(parts(List.of(Q4_1, Q4_1, Q8_0)));
        return cases;
    }

    private static KitCase linear(WeightFormat format, int in, int out) {
        return new KitCase("linear " + format + " " + in + " to " + out, (executor, tolerance) -> {
            GraphOf g = new GraphOf(in * 31L + out);
            run(executor, tolerance.of(format), g, g.add("op", g.linear(out, in, format, out % 2 == 1), g.input(in)));
        });
    }

    private static KitCase fused(
            WeightFormat format, NormKind norm, boolean gated, Optional<Act> act, boolean residual) {
        String name = "fused linear " + format + (norm == null ? "" : " after " + norm + " norm")
                + (gated ? ", gated" : "") + act.map(a -> " by " + a).orElse("") + (residual ? ", residual" : "");
        return new KitCase(name, (executor, tolerance) -> {
            for (int out : new int[] {24, 65}) {
                GraphOf g = new GraphOf(out);
                int in = 160;
                List<Op.Linear> parts = new ArrayList<>(List.of(g.linear(out, in, format, true)));
                if (gated) {
                    parts.add(g.linear(out, in, format, true));
                }
                Optional<Op.Norm> before = Optional.ofNullable(norm).map(kind -> g.norm(kind, in));
                Op op = new Op.FusedLinear(before, parts, act, gated, residual);
                Value x = g.input(in);
                Value y = residual ? g.add("op", op, x, g.input(out)) : g.add("op", op, x);
                run(executor, tolerance.of(format) + 1e-6, g, y);
            }
        });
    }

    private static KitCase parts(List<WeightFormat> formats) {
        return new KitCase("fused linear of parts in " + formats, (executor, tolerance) -> {
            GraphOf g = new GraphOf(11);
            List<Op.Linear> parts = new ArrayList<>();
            int[] outs = {48, 17, 33};
            double worst = 0;
            for (int i = 0; i < outs.length; i++) {
                parts.add(g.linear(outs[i], 96, formats.get(i), i != 1));
                worst = Math.max(worst, tolerance.of(formats.get(i)));
            }
            Op op = new Op.FusedLinear(Optional.of(g.norm(NormKind.RMS, 96)), parts, Optional.empty(), false, false);
            run(executor, worst, g, g.add("op", op, g.input(96)));
        });
    }

    private static void run(Executor executor, double tolerance, GraphOf g, Value y) {
        GraphOf.Built built = g.done(y);
        if (!Trial.readable(executor, built)) {
            return;
        }
        try (Trial trial = new Trial(executor, built)) {
            Random random = new Random(9);
            for (int n : TOKENS) {
                trial.forward(tolerance, n, new Part(trial.session(256, KvFormat.F32), Trial.tokens(n, random), Rows.ALL));
            }
        }
    }
}
