package dev.millrace.models.cli;

import dev.millrace.core.MillraceException;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Ctrl-C: a command that runs long asks {@link #requested} now and then, closes what it opened and returns; the JVM
 * waits for it a moment and ends with the signal's own exit code.
 */
public final class Interrupt {
    private static final long PATIENCE_SECONDS = 3;
    private static final CountDownLatch DONE = new CountDownLatch(1);
    private static final List<Runnable> RESCUES = new CopyOnWriteArrayList<>();
    private static volatile boolean requested;

    private Interrupt() {}

    /** Called once, before the command runs. */
    static void install() {
        Runtime.getRuntime().addShutdownHook(new Thread(Interrupt::onExit, "interrupt"));
    }

    /** The command returned: nothing is left to wait for. */
    static void done() {
        DONE.countDown();
    }

    /** Whether the run shall stop. */
    public static boolean requested() {
        return requested;
    }

    /** @throws MillraceException when the run shall stop; for work that only an exception ends */
    public static void check() {
        if (requested) {
            throw new MillraceException("interrupted");
        }
    }

    /**
     * What saves the finished part of a result when an interrupted command does not return in time, because a step of it
     * takes long. It runs on another thread while the command still runs.
     */
    public static void rescue(Runnable action) {
        RESCUES.add(action);
    }

    private static void onExit() {
        requested = true;
        try {
            if (!DONE.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                RESCUES.forEach(Runnable::run);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
