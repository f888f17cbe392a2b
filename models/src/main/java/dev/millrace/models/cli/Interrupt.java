package dev.millrace.models.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Ctrl-C: a command that runs long asks {@link #requested} now and then, closes what it opened and returns; the JVM
 * waits for it a moment and ends with the signal's own exit code.
 */
public final class Interrupt {
    private static final long PATIENCE_SECONDS = 3;
    private static final CountDownLatch DONE = new CountDownLatch(1);
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

    private static void onExit() {
        requested = true;
        try {
            DONE.await(PATIENCE_SECONDS, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
