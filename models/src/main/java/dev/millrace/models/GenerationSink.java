package dev.millrace.models;

/** Receives a generation while it runs. */
@FunctionalInterface
public interface GenerationSink {
    /** Takes nothing and never stops. */
    GenerationSink NONE = piece -> true;

    /**
     * Text that is final: whole characters, no part of a stop text.
     *
     * @return false to stop
     */
    boolean text(String piece);

    /**
     * A new token, before its text.
     *
     * @return false to stop
     */
    default boolean token(int id) {
        return true;
    }
}
