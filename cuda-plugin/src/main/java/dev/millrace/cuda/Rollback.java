package dev.millrace.cuda;

import java.util.ArrayDeque;
import java.util.Deque;

/** Closes what was opened so far, latest first, unless everything succeeded. */
final class Rollback implements AutoCloseable {
    private final Deque<Runnable> undo = new ArrayDeque<>();

    /** Remembers how to give {@code resource} back. */
    <T> T add(T resource, Runnable close) {
        undo.push(close);
        return resource;
    }

    /** Keeps everything. */
    void keep() {
        undo.clear();
    }

    @Override
    public void close() {
        undo.forEach(Runnable::run);
        undo.clear();
    }
}
