package dev.millrace.models.chat.jinja;

import dev.millrace.core.MillraceException;

/** A template that cannot be read or rendered: what, and in which line. */
public final class TemplateException extends MillraceException {
    private static final long serialVersionUID = 1L;

    private final int line;

    private TemplateException(int line, String message) {
        super(line == 0 ? message : "line " + line + ": " + message);
        this.line = line;
    }

    /** A mistake whose line the caller knows. */
    TemplateException(String message) {
        this(0, message);
    }

    static TemplateException at(int line, String message) {
        return new TemplateException(line, message);
    }

    /** The same with a line, unless it has one. */
    TemplateException in(int line) {
        return this.line == 0 ? new TemplateException(line, getMessage()) : this;
    }
}
