package dev.millrace.models.chat.jinja;

import dev.millrace.models.chat.jinja.Values.Undefined;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Jinja's tests: what may follow {@code is}. */
final class Checks {
    private Checks() {}

    static boolean holds(String name, Object value, Arguments arguments) {
        return switch (name) {
            case "defined" -> !(value instanceof Undefined);
            case "undefined" -> value instanceof Undefined;
            case "none" -> value == null;
            case "string" -> value instanceof String;
            case "number" -> Values.isNumber(value);
            case "integer" -> value instanceof Long;
            case "float" -> value instanceof Double;
            case "boolean" -> value instanceof Boolean;
            case "true" -> Boolean.TRUE.equals(value);
            case "false" -> Boolean.FALSE.equals(value);
            case "mapping" -> value instanceof Map<?, ?>;
            case "sequence" ->
                    value instanceof String
                            || value instanceof List<?>
                            || value instanceof Map<?, ?>;
            case "iterable" ->
                    value instanceof String
                            || value instanceof List<?>
                            || value instanceof Map<?, ?>
                            || value instanceof Undefined;
            case "callable" -> value instanceof Values.Function;
            case "lower" -> Values.show(value).equals(Values.show(value).toLowerCase(Locale.ROOT));
            case "upper" -> Values.show(value).equals(Values.show(value).toUpperCase(Locale.ROOT));
            case "odd" -> Math.floorMod(Values.whole(value, "odd"), 2L) == 1;
            case "even" -> Math.floorMod(Values.whole(value, "even"), 2L) == 0;
            case "divisibleby" -> Values.whole(value, "divisibleby") % divisor(arguments) == 0;
            case "eq", "equalto", "==" -> Values.equal(value, arguments.required(0, "other"));
            case "ne", "!=" -> !Values.equal(value, arguments.required(0, "other"));
            case "sameas" ->
                    value == arguments.required(0, "other")
                            || Values.isNumber(value)
                                    && Values.equal(value, arguments.required(0, "other"));
            case "lt", "lessthan", "<" -> Values.compare(value, arguments.required(0, "other")) < 0;
            case "le", "<=" -> Values.compare(value, arguments.required(0, "other")) <= 0;
            case "gt", "greaterthan", ">" ->
                    Values.compare(value, arguments.required(0, "other")) > 0;
            case "ge", ">=" -> Values.compare(value, arguments.required(0, "other")) >= 0;
            case "in" -> Values.contains(arguments.required(0, "container"), value);
            default -> throw new TemplateException("the test " + name + " is not supported");
        };
    }

    private static long divisor(Arguments arguments) {
        long divisor = arguments.whole(0, "num", 0);
        if (divisor == 0) {
            throw new TemplateException("divisibleby needs a number that is not 0");
        }
        return divisor;
    }
}
