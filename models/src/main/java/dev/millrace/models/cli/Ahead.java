package dev.millrace.models.cli;

import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Executors.Found;
import dev.millrace.models.checkpoint.Json;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/**
 * What commands that run a model need first, begun on another core while the command line is read: the classes that read
 * JSON, and the executors there are. Saves a tenth of a second of every start.
 */
final class Ahead {
    private static volatile FutureTask<List<Found>> executors = new FutureTask<>(Executors::discover);

    private Ahead() {}

    static void start() {
        FutureTask<List<Found>> task = new FutureTask<>(Executors::discover);
        executors = task;
        Thread.ofPlatform().daemon().name("ahead").start(() -> {
            Json.prepare();
            task.run();
        });
    }

    /** The executors, looked for now unless {@link #start} has begun to. */
    static List<Found> executors() {
        FutureTask<List<Found>> task = executors;
        task.run();
        try {
            return task.get();
        } catch (ExecutionException e) {
            throw e.getCause() instanceof RuntimeException known ? known : new IllegalStateException(e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while executors were looked for", e);
        }
    }
}
