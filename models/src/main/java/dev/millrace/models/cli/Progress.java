package dev.millrace.models.cli;

import dev.millrace.core.MillraceException;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** A progress bar on standard error, for people: only on a terminal, and only once a command has taken two seconds. */
public final class Progress implements AutoCloseable {
    private static final long PATIENCE_NANOS = 2_000_000_000L;

    private final String task;
    private final long steps;
    private final long start = System.nanoTime();
    private final boolean terminal = System.console() != null && System.console().isTerminal();
    private long done;
    private ProgressBar bar;

    private Progress(String task, long steps) {
        this.task = task;
        this.steps = steps;
    }

    /** @param steps how many {@link #step}s there will be */
    public static Progress of(String task, long steps) {
        return new Progress(task, steps);
    }

    /** One more step is done. */
    public void step() {
        at(done + 1);
    }

    /**
     * So many steps are done.
     *
     * @throws MillraceException when the run was interrupted meanwhile
     */
    public void at(long steps) {
        if (Interrupt.requested()) {
            throw new MillraceException("interrupted");
        }
        done = steps;
        if (terminal && bar == null && System.nanoTime() - start > PATIENCE_NANOS) {
            bar = new ProgressBarBuilder()
                    .setTaskName(task)
                    .setInitialMax(this.steps)
                    .setStyle(ProgressBarStyle.ASCII)
                    .build();
        }
        if (bar != null) {
            bar.stepTo(done);
        }
    }

    @Override
    public void close() {
        if (bar != null) {
            bar.close();
        }
    }
}
