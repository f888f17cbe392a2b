package dev.millrace.core.executor;

import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.profile.OpObserver;
import dev.millrace.core.sampling.Sampler;
import dev.millrace.core.sampling.Sampling;
import java.lang.foreign.MemorySegment;
import java.util.function.IntUnaryOperator;

/** Decoding over {@link Program#forward}, for executors that do not keep the loop on the device. */
final class DecodeLoop {
    private DecodeLoop() {}

    static int run(Session session, int[] tokens, Sampling sampling, int n, Session.TokenSink sink) {
        Program program = session.program();
        float[] logits = new float[program.graph().output(Graph.LOGITS).width()];
        MemorySegment target = MemorySegment.ofArray(logits);
        Sampler sampler = new Sampler(logits.length);
        IntUnaryOperator history = session::token;
        int[] one = new int[1];
        Batch step = Batch.of(session, one, Rows.LAST);
        for (int sampled = 0; sampled < n; sampled++) {
            if (sampled == 0) {
                program.forward(Batch.of(session, tokens, Rows.LAST), target);
            } else if (session.position() < session.capacity()) {
                program.forward(step, target);
            } else {
                return sampled;
            }
            long start = System.nanoTime();
            one[0] = sampler.sample(logits, 0, sampling, history, session.position());
            if (program.observer() != null) {
                program.observer().span(OpObserver.HOST, OpObserver.SAMPLE, start, System.nanoTime());
            }
            if (!sink.accept(one[0])) {
                return sampled + 1;
            }
        }
        return n;
    }
}
