package dev.millrace.core.reference;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.executor.Support;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import java.util.EnumSet;
import java.util.Set;

final class ReferenceExecutor implements Executor {
    @Override
    public String name() {
        return ReferenceProvider.NAME;
    }

    @Override
    public Device device() {
        return ReferenceProvider.DEVICE;
    }

    @Override
    public Support supports(Op op) {
        return Support.YES;
    }

    @Override
    public Set<WeightFormat> formats() {
        return EnumSet.allOf(WeightFormat.class);
    }

    @Override
    public Program compile(Graph graph, Weights weights, CompileOptions options) {
        return new ReferenceProgram(graph, weights);
    }

    /** It measures nothing: its speed is of no interest, so it has no roof to stand beside. */
    @Override
    public RoofProbe roofs() {
        return new RoofProbe() {
            @Override
            public Set<Kind> kinds() {
                return Set.of();
            }

            @Override
            public Sample measure(Kind kind, int threads, long bytes, int millis) {
                throw new MillraceException("reference measures no " + kind);
            }

            @Override
            public Kind computeRoof(WeightFormat format) {
                return Kind.FMA_F32;
            }

            @Override
            public void close() {}
        };
    }

    @Override
    public void close() {}
}
