package dev.millrace.models.chat.jinja;

import java.util.List;
import java.util.Map;

/** An expression, as it is written. */
sealed interface Expr {
    /** A value that is written out: text, number, true, false or none (null). */
    record Literal(Object value) implements Expr {}

    record Name(String name) implements Expr {}

    /** {@code [a, b]}, or as a tuple {@code (a, b)}. */
    record Items(List<Expr> items, boolean tuple) implements Expr {}

    record Entries(List<Expr> keys, List<Expr> values) implements Expr {}

    /** {@code target.name}. */
    record Attribute(Expr target, String name) implements Expr {}

    /** {@code target[key]}. */
    record Subscript(Expr target, Expr key) implements Expr {}

    /** {@code target[from:to:step]}; each part may be null. */
    record Slice(Expr target, Expr from, Expr to, Expr step) implements Expr {}

    record Call(Expr target, Arguments arguments) implements Expr {}

    /**
     * {@code target | name(arguments)}; the target of a {@code filter} inside a block set is null.
     */
    record Filter(Expr target, String name, Arguments arguments) implements Expr {}

    /** {@code target is name arguments}. */
    record Test(Expr target, String name, Arguments arguments) implements Expr {}

    record Not(Expr operand) implements Expr {}

    record And(Expr left, Expr right) implements Expr {}

    record Or(Expr left, Expr right) implements Expr {}

    /** {@code -} or {@code +} before a number. */
    record Sign(boolean negative, Expr operand) implements Expr {}

    /** {@code + - * / // % **}. */
    record Arithmetic(String operator, Expr left, Expr right) implements Expr {}

    /** {@code a ~ b ~ c}. */
    record Concat(List<Expr> parts) implements Expr {}

    /** {@code a < b == c}: every neighbouring pair is compared. */
    record Compare(List<Expr> operands, List<String> operators) implements Expr {}

    /** {@code then if condition else otherwise}; {@code otherwise} may be null. */
    record Choice(Expr condition, Expr then, Expr otherwise) implements Expr {}

    record Arguments(List<Expr> positional, Map<String, Expr> named) {
        static final Arguments NONE = new Arguments(List.of(), Map.of());
    }
}
