package dev.millrace.core;

/**
 * A failure that the person at the keyboard can do something about.
 *
 * <p>The message is one line: what went wrong, where (file, field, path in the graph), and what to do. The CLI prints
 * it as it is and exits with 1; a stack trace is shown only on request.
 */
public class MillraceException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public MillraceException(String message) {
        super(message);
    }

    public MillraceException(String message, Throwable cause) {
        super(message, cause);
    }
}
