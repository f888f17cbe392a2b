package dev.millrace.cpu.pool;

/**
 * How many workers run the next brief region. A phase of decoding lasts tens of microseconds, and a worker whose core
 * another process has taken for milliseconds keeps all others waiting at the next barrier: with one of two cores busy, one
 * worker alone is faster than both. So when regions stall again and again, one worker fewer takes part, for a number of
 * regions that doubles each time the stalls are soon back.
 */
final class Crew {
    /** Waits in less than this share of a region, or shorter, are no stall. */
    private static final int SHARE = 2;

    private static final long NANOS = 100_000;

    /** Three stalls within so many regions are no accident: a virtual machine loses a core for a moment every now and then. */
    private static final int AGAIN = 6;

    private static final int STALLS = 3;

    /** A worker that returns from its sleep is at first woken on the core of the one that wakes it. */
    private static final int RETURN = 2;

    /** When a worker has to leave within so many regions of its return, little has changed. */
    private static final int SOON = 16;

    /** Regions without the worker, at first and at most. */
    private static final int SHORT = 4;

    private static final int LONG = 64;

    private final int workers;
    private int active;
    private int pause = SHORT;
    private int left;
    private int sinceReturn = SOON;
    /** Which of the last {@link #AGAIN} regions stalled, a bit each. */
    private int recent;

    Crew(int workers) {
        this.workers = workers;
        this.active = workers;
    }

    /** Workers that take part in the next region. */
    int active() {
        return active;
    }

    /** A region of {@link #active} workers took {@code nanos}; its workers waited {@code stalled} for one another. */
    void ran(long nanos, long stalled) {
        sinceReturn++;
        boolean stall = active > 1 && sinceReturn > RETURN && stalled > NANOS && stalled > nanos / SHARE;
        recent = (recent << 1 | (stall ? 1 : 0)) & (1 << AGAIN) - 1;
        if (Integer.bitCount(recent) >= STALLS) {
            pause = sinceReturn <= SOON ? Math.min(LONG, 2 * pause) : SHORT;
            left = pause;
            recent = 0;
            active--;
            return;
        }
        if (active < workers && --left <= 0) {
            left = pause;
            active++;
            sinceReturn = 0;
        }
    }
}
