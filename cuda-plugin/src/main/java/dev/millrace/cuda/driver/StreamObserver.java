package dev.millrace.cuda.driver;

/** Watches what the host asks of a stream. */
public interface StreamObserver {
    /**
     * A call of the driver returned.
     *
     * @param call its name, such as {@code cuGraphLaunch}
     * @param startNanos {@link System#nanoTime} clock
     */
    void called(String call, long startNanos, long endNanos);

    /** A copy between host and device will be queued next. */
    void copies(String direction, long bytes);

    /** It was queued. */
    void copied();
}
