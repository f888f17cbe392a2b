package dev.millrace.cpu.pool;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A fixed set of workers that run one region of code together, with barriers inside it.
 *
 * <p>The caller of {@link #run} is worker 0; the others are daemon threads. Waiting spins first, because a phase of a
 * transformer layer lasts tens of microseconds and waking a thread costs as much, and parks when the wait grows long,
 * so that a worker whose core was given to another process can be moved to the core of one that waits for it.
 * Running a region and waiting at a barrier allocate nothing.
 */
public final class WorkerPool implements AutoCloseable {
    /** What every worker runs. */
    public interface Region {
        /**
         * @param worker this worker, in [0, workers)
         * @param workers how many run the region
         */
        void run(int worker, int workers);
    }

    /** How long a waiting worker only spins before it lets others have its core, nanoseconds. */
    private static final long SPIN = 10_000;

    /** How long a worker waits before it parks: at a barrier, and for the next region. */
    private static final long BARRIER_PATIENCE = 50_000;

    private static final long IDLE_PATIENCE = 1_000_000;

    private static final VarHandle FAILURE;
    private static final VarHandle COMMAND;

    static {
        try {
            MethodHandles.Lookup lookup = MethodHandles.lookup();
            COMMAND = lookup.findVarHandle(CommandLine.class, "command", long.class);
            FAILURE = lookup.findVarHandle(WorkerPool.class, "failure", Throwable.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    /** Which region is to run, and by how many, on cache lines of their own. */
    private static class CommandLine extends Padding {
        /** Number of the region times {@link #MOST_WORKERS} plus the workers that run it. */
        long command;
    }

    private static final class Command extends CommandLine {
        long q00, q01, q02, q03, q04, q05, q06, q07, q08, q09, q10, q11, q12, q13, q14, q15;
    }

    private static final int MOST_WORKERS = 1 << 16;

    /** A worker's thread, whether it has gone to sleep, and how long it has ever waited beyond spinning, nanoseconds. */
    private static final class Slot {
        volatile Thread thread;
        volatile boolean parked;
        volatile long stalled;
    }

    /** Thrown in workers that wait for one that has failed. */
    private static final class Aborted extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Aborted() {
            super("another worker failed", null, false, false);
        }
    }

    private final int workers;
    private final Slot[] slots;
    private final Command start = new Command();
    private final Barrier end = new Barrier();
    /** Barriers inside a region: apart from its end, since workers abandon them when one fails. */
    private final Barrier inner = new Barrier();
    private final Claims claims;
    private final ReentrantLock running = new ReentrantLock();
    private final Crew crew;
    private Region body;
    /** Workers of the current region. */
    private int active;
    private long stalledBefore;
    private Throwable failure;
    private volatile boolean closed;

    /**
     * Starts {@code workers - 1} threads.
     *
     * @throws IllegalArgumentException when there is less than one worker
     */
    public WorkerPool(int workers) {
        if (workers < 1) {
            throw new IllegalArgumentException("a pool needs at least one worker, not " + workers);
        }
        this.workers = workers;
        active = workers;
        crew = new Crew(workers);
        slots = new Slot[workers];
        claims = new Claims(workers);
        for (int w = 0; w < workers; w++) {
            slots[w] = new Slot();
        }
        for (int w = 1; w < workers; w++) {
            int worker = w;
            Thread thread = new Thread(() -> serve(worker), "millrace-worker-" + w);
            thread.setDaemon(true);
            slots[w].thread = thread;
            thread.start();
        }
    }

    /** Workers, the caller of {@link #run} included. */
    public int workers() {
        return workers;
    }

    /**
     * Runs {@code region} on every worker and returns when all are done. Calls from several threads take turns.
     *
     * @throws RuntimeException the first exception of any worker; the pool can be used again
     * @throws IllegalStateException when the pool is closed, or the caller is inside a region
     */
    public void run(Region region) {
        lock();
        try {
            run(region, workers);
        } finally {
            running.unlock();
        }
    }

    /**
     * The same for a region of a few milliseconds that has many barriers: while workers stall because other processes
     * have their cores, fewer run it. The region is told how many.
     */
    public void runBrief(Region region) {
        lock();
        try {
            long before = System.nanoTime();
            run(region, crew.active());
            long nanos = System.nanoTime() - before;
            long stalled = 0;
            for (Slot slot : slots) {
                stalled += slot.stalled;
            }
            crew.ran(nanos, stalled - stalledBefore);
            stalledBefore = stalled;
        } finally {
            running.unlock();
        }
    }

    private void lock() {
        if (running.isHeldByCurrentThread()) {
            throw new IllegalStateException("a region cannot start another on the same pool");
        }
        running.lock();
    }

    private void run(Region region, int by) {
        if (closed) {
            throw new IllegalStateException("the worker pool is closed");
        }
        active = by;
        if (by == 1) {
            command(1);
            region.run(0, 1);
            return;
        }
        slots[0].thread = Thread.currentThread();
        body = region;
        inner.reset();
        command(by);
        wake(0, by);
        step(0, region);
        pass(end, 0);
        body = null;
        slots[0].thread = null;
        Throwable thrown = failure;
        if (thrown != null) {
            failure = null;
            rethrow(thrown);
        }
    }

    /** Starts a region for the workers below {@code by}. */
    private void command(int by) {
        COMMAND.setVolatile(start, (start.command / MOST_WORKERS + 1) * MOST_WORKERS + by);
    }

    /** Workers of the current region, as it was told. */
    public int active() {
        return active;
    }

    /**
     * Waits until every worker is here. Inside a region, by every worker; what one wrote before it, all see after it.
     * Afterwards {@link #claim} starts afresh.
     */
    public void barrier(int worker) {
        if (active > 1) {
            pass(inner, worker);
        } else {
            inner.release(inner.phase());
        }
    }

    /**
     * Hands out [0, n), each number once, afresh after every barrier and for every region. A worker gets those of its own
     * share, which are contiguous, in ascending order, and then what is left of others'. -1 when nothing is left.
     */
    public int claim(int worker, int n) {
        // both stand still until all workers are at a barrier
        long region = (long) COMMAND.getOpaque(start) / MOST_WORKERS;
        return claims.next(worker, active, n, (int) (region + inner.phase()));
    }

    /** Ends the threads; returns when they have ended. A region that runs is let finish. */
    @Override
    public void close() {
        if (running.isHeldByCurrentThread()) {
            throw new IllegalStateException("a region cannot close its pool");
        }
        running.lock();
        try {
            if (closed) {
                return;
            }
            closed = true;
            active = workers;
            command(workers);
            wake(0, workers);
        } finally {
            running.unlock();
        }
        boolean interrupted = false;
        for (int w = 1; w < workers; w++) {
            while (slots[w].thread.isAlive()) {
                try {
                    slots[w].thread.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private void serve(int worker) {
        long seen = 0;
        while (true) {
            seen = await(worker, seen);
            if (closed) {
                return;
            }
            step(worker, body);
            pass(end, worker);
        }
    }

    /** Waits for a region after {@code seen} in which the worker takes part, and returns its command. */
    private long await(int worker, long seen) {
        long start = System.nanoTime();
        int spins = 0;
        for (long next = command(); next == seen || next % MOST_WORKERS <= worker; next = command()) {
            Thread.onSpinWait();
            if ((++spins & 31) == 0) {
                long waited = System.nanoTime() - start;
                if (waited > IDLE_PATIENCE) {
                    Slot slot = slots[worker];
                    slot.parked = true;
                    // who starts a region writes the command, then reads parked; we write parked, then read the command
                    long now = command();
                    if (now == seen || now % MOST_WORKERS <= worker) {
                        LockSupport.park(this);
                    }
                    slot.parked = false;
                } else if (waited > SPIN) {
                    Thread.yield();
                }
            }
        }
        return command();
    }

    private long command() {
        return (long) COMMAND.getVolatile(start);
    }

    /** Runs the region on one worker and keeps the first failure of any. */
    private void step(int worker, Region region) {
        try {
            region.run(worker, active);
        } catch (Aborted e) {
            // the failure that caused it is already kept
        } catch (Throwable e) {
            FAILURE.compareAndSet(this, null, e);
            // workers asleep at a barrier must see it
            wake(worker, active);
        }
    }

    private void pass(Barrier barrier, int worker) {
        int phase = barrier.phase();
        int here = active; // once all are here the next region may have other workers
        if (barrier.arrive() == here - 1) {
            barrier.release(phase);
            wake(worker, here);
            return;
        }
        long start = 0;
        int spins = 0;
        while (barrier.phase() == phase) {
            if (abandoned(barrier)) {
                throw new Aborted();
            }
            Thread.onSpinWait();
            if ((++spins & 31) == 0) {
                long now = System.nanoTime();
                if (start == 0) {
                    start = now;
                } else if (now - start > BARRIER_PATIENCE) {
                    sleep(barrier, worker, phase);
                } else if (now - start > SPIN) {
                    Thread.yield();
                }
            }
        }
        if (start != 0) {
            long waited = System.nanoTime() - start;
            if (waited > SPIN) {
                slots[worker].stalled += waited;
            }
        }
    }

    private boolean abandoned(Barrier barrier) {
        return barrier == inner && (Throwable) FAILURE.getVolatile(this) != null;
    }

    private void sleep(Barrier barrier, int worker, int phase) {
        Slot slot = slots[worker];
        slot.parked = true;
        // who lets us go writes the phase (or the failure), then reads parked; we write parked, then read both
        if (barrier.phaseVolatile() == phase && !abandoned(barrier)) {
            LockSupport.park(this);
        }
        slot.parked = false;
    }

    private void wake(int self, int workers) {
        for (int w = 0; w < workers; w++) {
            if (w != self && slots[w].parked) {
                LockSupport.unpark(slots[w].thread);
            }
        }
    }

    private static void rethrow(Throwable thrown) {
        switch (thrown) {
            case RuntimeException e -> throw e;
            case Error e -> throw e;
            default -> throw new IllegalStateException("a worker failed", thrown);
        }
    }
}
