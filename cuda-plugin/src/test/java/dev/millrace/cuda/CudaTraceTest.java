package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Node;
import dev.millrace.core.kit.GraphOf;
import dev.millrace.core.kit.KitModels;
import dev.millrace.core.profile.OpObserver;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.core.tensor.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What an observer is told of the device lies on the host's clock. */
@GpuOnly
class CudaTraceTest {
    /** The clocks are laid over each other to about this. */
    private static final long SLACK_NANOS = 50_000;

    private record Span(String lane, String name, long start, long end) {}

    private static final class Recorder implements OpObserver {
        private final List<Span> spans = new ArrayList<>();

        @Override
        public void begin(int tokens, int context) {}

        @Override
        public void op(Node node, long startNanos, long endNanos) {
            spans.add(new Span("ops", node.path(), startNanos, endNanos));
        }

        @Override
        public void span(String lane, String name, long startNanos, long endNanos) {
            spans.add(new Span(lane, name, startNanos, endNanos));
        }

        @Override
        public void end(long startNanos, long endNanos) {}

        private List<String> names(String lane) {
            return spans.stream().filter(s -> s.lane.equals(lane)).map(Span::name).toList();
        }
    }

    @Test
    void kernelsCopiesAndCallsStandOnOneClock() {
        try (Executor executor = new CudaProvider().open(0, ExecutorOptions.DEFAULT)) {
            GraphOf.Built built = KitModels.fused(KitModels.llama(WeightFormat.F16), executor);
            float[] logits = new float[GraphOf.VOCABULARY];
            try (Program program = executor.compile(built.graph(), built.weights(), CompileOptions.DEFAULT);
                    Session session = program.newSession(64, KvFormat.F16)) {
                Recorder recorder = new Recorder();
                long before = System.nanoTime();
                program.observe(recorder);
                program.forward(Batch.of(session, new int[] {1, 2, 3}, Batch.Rows.LAST), MemorySegment.ofArray(logits));
                session.decode(new int[] {4}, Sampling.GREEDY, 5, token -> true);
                program.observe(null);
                long after = System.nanoTime();
                assertThat(recorder.spans).allSatisfy(span -> {
                    assertThat(span.start).as(span.toString()).isBetween(before - SLACK_NANOS, span.end);
                    assertThat(span.end).as(span.toString()).isLessThan(after + SLACK_NANOS);
                });
                assertThat(recorder.names("stream")).isNotEmpty();
                assertThat(recorder.names("ops")).isNotEmpty();
                assertThat(recorder.names(OpObserver.HOST))
                        .contains("cuGraphLaunch", "cuMemcpyDtoHAsync", "cuStreamSynchronize")
                        .as("the device reads what a step is about by itself")
                        .doesNotContain("cuMemcpyHtoDAsync");
                assertThat(recorder.names("copies"))
                        .anyMatch(name -> name.startsWith("device to host"));
                int told = recorder.spans.size();
                session.decode(new int[] {5}, Sampling.GREEDY, 3, token -> true);
                assertThat(recorder.spans).as("after the observer was taken off").hasSize(told);
            }
        }
    }
}
