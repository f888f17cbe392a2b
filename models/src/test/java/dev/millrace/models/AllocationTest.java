package dev.millrace.models;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Session;
import dev.millrace.core.sampling.Sampling;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Decoding on the SIMD executor makes no garbage, whatever is sampled, on any of its threads. */
class AllocationTest {
    private static final com.sun.management.ThreadMXBean THREADS =
            (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    private static final int[] PROMPT = {47, 1450, 652, 259, 586};

    /** Bytes that the engine's threads have allocated: this one and the executor's workers. */
    private static long allocated() {
        long[] ids = Thread.getAllStackTraces().keySet().stream()
                .filter(t -> t == Thread.currentThread() || t.getName().startsWith("millrace"))
                .mapToLong(Thread::threadId)
                .sorted()
                .toArray();
        return Arrays.stream(THREADS.getThreadAllocatedBytes(ids)).filter(bytes -> bytes > 0).sum();
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void decodingAllocatesNothingPerToken(boolean greedy) {
        Sampling sampling = greedy ? Sampling.GREEDY : Sampling.standard(11);
        try (Model model = Model.embedded();
                Executor executor = Executors.named("cpu-simd").open();
                Engine engine = Engine.open(model, executor);
                Session session = engine.newSession(256)) {
            // warm-up and measurement in one: vector code allocates until it is compiled
            long few;
            long many;
            int round = 0;
            do {
                few = decode(session, sampling, 8);
                many = decode(session, sampling, 200);
            } while (many > few && ++round < 40);

            assertThat(many).as("bytes allocated by 200 tokens, against %d by 8", few).isLessThanOrEqualTo(few);
        }
    }

    private static long decode(Session session, Sampling sampling, int tokens) {
        session.truncate(0);
        long before = allocated();
        int sampled = session.decode(PROMPT, sampling, tokens, token -> true);
        long after = allocated();
        assertThat(sampled).isEqualTo(tokens);
        return after - before;
    }
}
