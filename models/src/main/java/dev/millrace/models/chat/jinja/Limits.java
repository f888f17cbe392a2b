package dev.millrace.models.chat.jinja;

import java.util.function.Supplier;

/**
 * What one rendering may use up: a template comes with a download, and its author may mean harm.
 */
final class Limits {
    /** Characters of one text, and of the output: some hundred times the longest context. */
    private static final int MAX_LENGTH = 32 << 20;

    private static final int MAX_ITEMS = 1 << 20;

    /**
     * Expressions, statements, iterations and compared or written values; a long conversation needs
     * some 50,000.
     */
    private static final long MAX_STEPS = 10_000_000;

    /** Calls, expressions and values inside one another. */
    private static final int MAX_DEPTH = 200;

    private static final ScopedValue<Limits> CURRENT = ScopedValue.newInstance();

    private long steps;
    private int depth;

    private Limits() {}

    /** Runs a rendering within limits of its own. */
    static <T> T within(Supplier<T> rendering) {
        return ScopedValue.where(CURRENT, new Limits()).call(rendering::get);
    }

    /** Begins something that may contain others of its kind; {@link #leave} ends it. */
    static void enter() {
        Limits limits = CURRENT.get();
        if (++limits.depth > MAX_DEPTH) {
            throw new TemplateException("nested deeper than " + MAX_DEPTH + " levels");
        }
        spend(1);
    }

    static void leave() {
        CURRENT.get().depth--;
    }

    static void spend(long steps) {
        Limits limits = CURRENT.get();
        limits.steps += steps;
        if (limits.steps > MAX_STEPS) {
            throw new TemplateException(
                    "the template runs for too long (more than " + MAX_STEPS + " steps)");
        }
    }

    static void checkLength(long length) {
        if (length > MAX_LENGTH) {
            throw new TemplateException("a text becomes longer than " + MAX_LENGTH + " characters");
        }
    }

    static void checkItems(long items) {
        if (items > MAX_ITEMS) {
            throw new TemplateException("a list becomes longer than " + MAX_ITEMS + " items");
        }
    }
}
