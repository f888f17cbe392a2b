package dev.millrace.core.executor;

/** An executor's answer whether it runs an op. */
public sealed interface Support {
    record Supported() implements Support {}

    record Declined(String reason) implements Support {}

    Support YES = new Supported();

    static Support no(String reason) {
        return new Declined(reason);
    }

    default boolean yes() {
        return this instanceof Supported;
    }
}
