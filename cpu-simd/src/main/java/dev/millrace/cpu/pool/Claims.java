package dev.millrace.cpu.pool;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * Hands out numbers to workers, each once in a phase: a worker's own share first, then what is left of others'. Every worker has
 * a counter on cache lines of its own, so that taking from one's share disturbs nobody.
 */
final class Claims {
    private static final VarHandle CLAIMED;

    static {
        try {
            CLAIMED = MethodHandles.lookup().findVarHandle(Counter.class, "claimed", long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private static class Counter extends Padding {
        /** A phase in the upper half, and how many were claimed in it. */
        long claimed;
    }

    private static final class PaddedCounter extends Counter {
        long q00, q01, q02, q03, q04, q05, q06, q07, q08, q09, q10, q11, q12, q13, q14, q15;
    }

    private final Counter[] counters;

    Claims(int workers) {
        counters = new Counter[workers];
        for (int w = 0; w < workers; w++) {
            counters[w] = new PaddedCounter();
        }
    }

    /**
     * The next of [0, n) for {@code worker}, one of {@code workers}; -1 when nothing is left. Counts of other phases are over, and
     * need no clearing, which would take each counter away from the cache of the worker that claims most.
     */
    int next(int worker, int workers, int n, int phase) {
        long current = (long) phase << 32;
        for (int i = 0; i < workers; i++) {
            int owner = worker + i < workers ? worker + i : worker + i - workers;
            int first = (int) ((long) n * owner / workers);
            int last = (int) ((long) n * (owner + 1) / workers);
            Counter counter = counters[owner];
            long seen = (long) CLAIMED.getVolatile(counter);
            while (true) {
                long claimed = (seen ^ current) >>> 32 == 0 ? seen : current;
                int next = first + (int) claimed;
                if (next >= last) {
                    break;
                }
                long witness = (long) CLAIMED.compareAndExchange(counter, seen, claimed + 1);
                if (witness == seen) {
                    return next;
                }
                seen = witness;
            }
        }
        return -1;
    }
}
