package dev.millrace.models.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/**
 * A progress bar on standard error, for people: only on a terminal, only once the work has taken two seconds, and gone
 * without a trace when the work is done.
 */
public final class Progress implements AutoCloseable {
    private static final long PATIENCE_NANOS = 2_000_000_000L;
    private static final int REDRAW_MILLIS = 250;

    private final String task;
    private final long start = System.nanoTime();
    private long all;
    private long done;
    private boolean piped;
    private Line line;
    private ProgressBar bar;

    private Progress(String task, long all) {
        this.task = task;
        this.all = all;
    }

    /** @param all how many {@link #step}s there will be */
    public static Progress of(String task, long all) {
        return new Progress(task, all);
    }

    /** One more step is done. */
    public void step() {
        at(done + 1);
    }

    /** So many steps are done. */
    public void at(long steps) {
        done = steps;
        waiting();
    }

    /** So many steps are done, of so many. */
    public void at(long steps, long of) {
        all = of;
        at(steps);
    }

    /** No step is done, but time passes. */
    public void waiting() {
        if (bar == null && !piped && System.nanoTime() - start > PATIENCE_NANOS) {
            piped = !StandardError.isTerminal();
            if (piped) {
                return;
            }
            line = new Line();
            bar = new ProgressBarBuilder()
                    .setTaskName(task)
                    .setInitialMax(all)
                    .startsFrom(0, Duration.ofNanos(System.nanoTime() - start))
                    .setStyle(ProgressBarStyle.ASCII)
                    .setUpdateIntervalMillis(REDRAW_MILLIS)
                    .setConsumer(line)
                    .build();
        }
        if (bar != null) {
            bar.maxHint(all);
            bar.stepTo(done);
        }
    }

    /** Whether the run was interrupted; for work that ends by itself then. */
    public boolean stopped() {
        waiting();
        return Interrupt.requested();
    }

    /** Prints something, with the bar out of the way. */
    public void aside(Runnable print) {
        if (line == null) {
            print.run();
        } else {
            line.aside(print);
        }
    }

    @Override
    public void close() {
        if (bar != null) {
            bar.close();
        }
    }

    /** The terminal's last line, which the bar redraws. */
    private static final class Line extends ConsoleProgressBarConsumer {
        private static final String ERASE = "\r\033[K";

        private final PrintStream err;
        private String shown = "";

        Line() {
            this(new PrintStream(new FileOutputStream(FileDescriptor.err), true, StandardCharsets.UTF_8));
        }

        private Line(PrintStream err) {
            super(err, StandardError.columns() - 1);
            this.err = err;
        }

        @Override
        public synchronized void accept(String text) {
            shown = text;
            err.print(ERASE + text.substring(0, Math.min(text.length(), getMaxRenderedLength())));
            err.flush();
        }

        synchronized void aside(Runnable print) {
            err.print(ERASE);
            err.flush();
            print.run();
            accept(shown);
        }

        @Override
        public synchronized void close() {
            err.print(ERASE);
            err.flush();
        }
    }
}
