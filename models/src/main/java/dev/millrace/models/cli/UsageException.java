package dev.millrace.models.cli;

import dev.millrace.core.MillraceException;

/** The command line itself is wrong: exit code 2. */
public final class UsageException extends MillraceException {
    private static final long serialVersionUID = 1L;

    public UsageException(String message) {
        super(message);
    }
}
