package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import java.nio.file.Path;

/** Failures that quote a file, whose names and values may hold anything: always one line of bounded length. */
final class Bad {
    private static final int MAX = 600;

    private Bad() {}

    static MillraceException file(Path file, String what) {
        return new MillraceException(file + ": " + line(what));
    }

    static MillraceException file(Path file, String what, Throwable cause) {
        return new MillraceException(file + ": " + line(what), cause);
    }

    static String line(String text) {
        String cut = text.length() > MAX ? text.substring(0, MAX) + "..." : text;
        return cut.replaceAll("\\p{Cntrl}", "?");
    }
}
