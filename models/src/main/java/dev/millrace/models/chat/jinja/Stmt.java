package dev.millrace.models.chat.jinja;

import java.util.List;

/** A statement of a template. */
sealed interface Stmt {
    /** Where it is written; 0 where that does not matter. */
    default int line() {
        return 0;
    }

    record Text(String text) implements Stmt {}

    record Print(Expr value, int line) implements Stmt {}

    /** {@code conditions[i]} guards {@code bodies[i]}; one body more is the {@code else}. */
    record If(List<Expr> conditions, List<List<Stmt>> bodies, int line) implements Stmt {}

    /**
     * A loop.
     *
     * @param targets one name, or several that each item is unpacked into
     * @param filter items for which it is false are left out; may be null
     * @param otherwise runs when there is no item
     */
    record For(
            List<String> targets,
            Expr items,
            Expr filter,
            List<Stmt> body,
            List<Stmt> otherwise,
            int line)
            implements Stmt {}

    /** {@code set a = value}, {@code set a, b = value}. */
    record Set(List<String> targets, Expr value, int line) implements Stmt {}

    /** {@code set space.name = value}, for a namespace. */
    record SetAttribute(String space, String name, Expr value, int line) implements Stmt {}

    /** {@code set a} ... {@code endset}: the text of the body, through the filters. */
    record SetBlock(String target, List<Expr.Filter> filters, List<Stmt> body, int line)
            implements Stmt {}

    /** A function that returns text; a default may be null. */
    record Macro(
            String name, List<String> parameters, List<Expr> defaults, List<Stmt> body, int line)
            implements Stmt {}

    /** {@code generation} marks what the model itself wrote; for the text it is nothing. */
    record Group(List<Stmt> body) implements Stmt {}

    record Break() implements Stmt {}

    record Continue() implements Stmt {}
}
