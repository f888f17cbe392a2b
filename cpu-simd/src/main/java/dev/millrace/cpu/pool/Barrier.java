package dev.millrace.cpu.pool;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/** Counts arrivals and numbers phases; both counters lie on cache lines of their own. */
final class Barrier extends ArrivedLine {
    long r00, r01, r02, r03, r04, r05, r06, r07, r08, r09, r10, r11, r12, r13, r14, r15;

    private static final VarHandle ARRIVED;
    private static final VarHandle PHASE;

    static {
        try {
            MethodHandles.Lookup lookup = MethodHandles.lookup();
            ARRIVED = lookup.findVarHandle(ArrivedLine.class, "arrived", int.class);
            PHASE = lookup.findVarHandle(PhaseLine.class, "phase", int.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    int phase() {
        return (int) PHASE.getAcquire((PhaseLine) this);
    }

    int phaseVolatile() {
        return (int) PHASE.getVolatile((PhaseLine) this);
    }

    /** Counts one more arrival and returns how many came before. */
    int arrive() {
        return (int) ARRIVED.getAndAdd((ArrivedLine) this, 1);
    }

    /** Starts the next phase: everyone who waits for the end of {@code phase} may go. */
    void release(int phase) {
        arrived = 0;
        PHASE.setVolatile((PhaseLine) this, phase + 1);
    }

    /** Forgets arrivals; only while no one waits here. */
    void reset() {
        arrived = 0;
    }
}

/** Where waiters look. */
class PhaseLine extends Padding {
    int phase;
}

/** What arrivals write. */
class ArrivedLine extends PhaseLine {
    long q00, q01, q02, q03, q04, q05, q06, q07, q08, q09, q10, q11, q12, q13, q14, q15;
    int arrived;
}
