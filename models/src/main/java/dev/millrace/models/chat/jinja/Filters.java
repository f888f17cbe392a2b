package dev.millrace.models.chat.jinja;

import dev.millrace.models.chat.jinja.Values.Undefined;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;

/** Jinja's filters: what may follow {@code |}. */
final class Filters {
    private Filters() {}

    static Object apply(String name, Object value, Arguments arguments) {
        Object result =
                switch (name) {
                    case "trim" -> Text.strip(Values.show(value), arguments.textOrNull(0, "chars"));
                    case "upper" -> Values.show(value).toUpperCase(Locale.ROOT);
                    case "lower" -> Values.show(value).toLowerCase(Locale.ROOT);
                    case "capitalize" -> Text.capitalize(Values.show(value));
                    case "title" -> Text.headline(Values.show(value));
                    case "string", "safe" -> Values.show(value);
                    case "escape", "e" -> Text.escapeHtml(Values.show(value));
                    case "replace" -> replace(Values.show(value), arguments);
                    case "indent" -> indent(Values.text(value, "what is indented"), arguments);
                    case "tojson" -> tojson(value, arguments);
                    case "length", "count" -> length(value);
                    case "default", "d" ->
                            value instanceof Undefined
                                            || arguments.flag(1, "boolean") && !Values.isTrue(value)
                                    ? arguments.get(0, "default_value", "")
                                    : value;
                    case "int" -> toWhole(value, arguments.get(0, "default", 0L));
                    case "float" -> toFloat(value, arguments.get(0, "default", 0.0));
                    case "abs" ->
                            value instanceof Double number
                                    ? (Object) Math.abs(number)
                                    : Math.abs(Values.whole(value, "abs"));
                    case "items" -> entries(value);
                    case "dictsort" ->
                            sorted(entries(value), null, arguments.flag(2, "reverse"), false);
                    case "list" -> new ArrayList<>(Values.items(value, "list"));
                    case "first" -> first(Values.items(value, "first"));
                    case "last" -> first(Values.items(value, "last").reversed());
                    case "min" -> extreme(value, Values::compare, "min");
                    case "max" -> extreme(value, (a, b) -> Values.compare(b, a), "max");
                    case "sum" -> sum(value, arguments);
                    case "unique" -> unique(Values.items(value, "unique"));
                    case "reverse" -> reverse(value);
                    case "sort" ->
                            sorted(
                                    Values.items(value, "sort"),
                                    arguments.textOrNull(2, "attribute"),
                                    arguments.flag(0, "reverse"),
                                    arguments.flag(1, "case_sensitive"));
                    case "join" -> join(value, arguments);
                    case "map" -> map(value, arguments);
                    case "select" -> select(value, arguments, null, true);
                    case "reject" -> select(value, arguments, null, false);
                    case "selectattr" ->
                            select(value, shifted(arguments), arguments.text(0, "attribute"), true);
                    case "rejectattr" ->
                            select(
                                    value,
                                    shifted(arguments),
                                    arguments.text(0, "attribute"),
                                    false);
                    case "attr" -> Members.item(value, arguments.text(0, "name"));
                    default ->
                            throw new TemplateException("the filter " + name + " is not supported");
                };
        if (result instanceof String text) {
            Limits.checkLength(text.length());
        }
        return result;
    }

    private static String replace(String text, Arguments arguments) {
        String old = Values.show(arguments.required(0, "old"));
        String with = Values.show(arguments.required(1, "new"));
        Limits.checkLength((long) text.length() / Math.max(1, old.length()) * with.length());
        Object count = arguments.get(2, "count", null);
        return Text.replace(
                text, old, with, count == null ? -1 : Values.whole(count, "replace's count"));
    }

    private static String indent(String text, Arguments arguments) {
        Object width = arguments.get(0, "width", 4L);
        String by =
                width instanceof String given
                        ? given
                        : spaces(Values.whole(width, "indent's width"));
        Limits.checkLength(text.chars().filter(c -> c == '\n').count() * by.length());
        return Text.indent(text, by, arguments.flag(1, "first"), arguments.flag(2, "blank"));
    }

    private static String tojson(Object value, Arguments arguments) {
        Object indent = arguments.get(0, "indent", null);
        String level =
                indent == null || indent instanceof String
                        ? (String) indent
                        : spaces(Values.whole(indent, "tojson's indent"));
        return ToJson.of(value, level, arguments.flag(3, "sort_keys"));
    }

    private static String spaces(long count) {
        Limits.checkLength(count * 1024);
        return " ".repeat((int) Math.max(0, count));
    }

    private static long length(Object value) {
        return value instanceof String text
                ? Text.length(text)
                : Values.items(value, "length").size();
    }

    private static Object toWhole(Object value, Object otherwise) {
        try {
            return switch (value) {
                case Double number -> number.longValue();
                case String text -> Long.valueOf(Text.strip(text, null));
                case null, default ->
                        Values.isWhole(value) ? (Object) Values.whole(value, "int") : otherwise;
            };
        } catch (NumberFormatException notWhole) {
            Object number = toFloat(value, otherwise);
            return number instanceof Double fraction && number != otherwise
                    ? (Object) fraction.longValue()
                    : otherwise;
        }
    }

    private static Object toFloat(Object value, Object otherwise) {
        try {
            return value instanceof String text
                    ? (Object) Double.valueOf(Text.strip(text, null))
                    : Values.isNumber(value) ? (Object) Values.number(value, "float") : otherwise;
        } catch (NumberFormatException notANumber) {
            return otherwise;
        }
    }

    static List<Object> entries(Object value) {
        if (value instanceof Undefined) {
            return List.of();
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw new TemplateException(
                    "items should be those of a map, found " + Values.kind(value));
        }
        List<Object> entries = new ArrayList<>();
        map.forEach((key, item) -> entries.add(new Tuple(key, item)));
        return entries;
    }

    private static Object first(List<?> items) {
        return items.isEmpty() ? new Undefined("the first or last of nothing") : items.getFirst();
    }

    private static Object extreme(Object value, Comparator<Object> order, String name) {
        return Values.items(value, name).stream()
                .map(item -> (Object) item)
                .min(order)
                .orElse(new Undefined(name + " of nothing"));
    }

    private static Object sum(Object value, Arguments arguments) {
        String attribute = arguments.textOrNull(0, "attribute");
        Object total = arguments.get(1, "start", 0L);
        for (Object item : Values.items(value, "sum")) {
            total =
                    Arithmetic.apply(
                            "+", total, attribute == null ? item : Members.path(item, attribute));
        }
        return total;
    }

    private static List<Object> unique(List<?> items) {
        Map<Object, Object> seen = new LinkedHashMap<>();
        for (Object item : items) {
            seen.putIfAbsent(
                    item instanceof String text ? text.toLowerCase(Locale.ROOT) : Values.key(item),
                    item);
        }
        return new ArrayList<>(seen.values());
    }

    private static Object reverse(Object value) {
        return value instanceof String text
                ? new StringBuilder(text).reverse().toString()
                : new ArrayList<>(Values.items(value, "reverse").reversed());
    }

    private static List<Object> sorted(
            List<?> items, String attribute, boolean reverse, boolean caseSensitive) {
        Comparator<Object> order =
                Comparator.comparing(
                        item -> {
                            Object key = attribute == null ? item : Members.path(item, attribute);
                            return key instanceof String text && !caseSensitive
                                    ? text.toLowerCase(Locale.ROOT)
                                    : key;
                        },
                        Values::compare);
        List<Object> sorted = new ArrayList<>(items);
        sorted.sort(reverse ? order.reversed() : order);
        return sorted;
    }

    private static String join(Object value, Arguments arguments) {
        String separator = Values.show(arguments.get(0, "d", ""));
        String attribute = arguments.textOrNull(1, "attribute");
        StringBuilder joined = new StringBuilder();
        String before = "";
        for (Object item : Values.items(value, "join")) {
            joined.append(before)
                    .append(Values.show(attribute == null ? item : Members.path(item, attribute)));
            before = separator;
            Limits.checkLength(joined.length());
        }
        return joined.toString();
    }

    private static List<Object> map(Object value, Arguments arguments) {
        List<Object> mapped = new ArrayList<>();
        Object attribute = arguments.named().get("attribute");
        for (Object item : Values.items(value, "map")) {
            if (attribute == null) {
                mapped.add(apply(arguments.text(0, "filter"), item, shifted(arguments)));
            } else {
                Object member = Members.path(item, Values.show(attribute));
                boolean missing =
                        member instanceof Undefined && arguments.named().containsKey("default");
                mapped.add(missing ? arguments.named().get("default") : member);
            }
        }
        return mapped;
    }

    /**
     * Keeps the items (or those whose attribute) passes the test, or is true where there is none.
     */
    private static List<Object> select(
            Object value, Arguments arguments, String attribute, boolean wanted) {
        List<Object> kept = new ArrayList<>();
        for (Object item : Values.items(value, "select")) {
            Object tested = attribute == null ? item : Members.path(item, attribute);
            boolean holds =
                    arguments.positional().isEmpty()
                            ? Values.isTrue(tested)
                            : Checks.holds(
                                    Objects.toString(arguments.positional().getFirst()),
                                    tested,
                                    shifted(arguments));
            if (holds == wanted) {
                kept.add(item);
            }
        }
        return kept;
    }

    private static Arguments shifted(Arguments arguments) {
        List<Object> rest =
                arguments.positional().isEmpty()
                        ? List.of()
                        : arguments.positional().subList(1, arguments.positional().size());
        return new Arguments(arguments.callee(), rest, arguments.named());
    }
}
