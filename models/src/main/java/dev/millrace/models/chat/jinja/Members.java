package dev.millrace.models.chat.jinja;

import dev.millrace.models.chat.jinja.Values.Function;
import dev.millrace.models.chat.jinja.Values.Namespace;
import dev.millrace.models.chat.jinja.Values.Undefined;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * What is reached with {@code .name} and {@code [key]}: items, and the methods of texts, maps and
 * lists.
 */
final class Members {
    private static final Set<String> TEXT_METHODS =
            Set.of(
                    "strip",
                    "lstrip",
                    "rstrip",
                    "split",
                    "rsplit",
                    "splitlines",
                    "startswith",
                    "endswith",
                    "upper",
                    "lower",
                    "title",
                    "capitalize",
                    "replace",
                    "find",
                    "rfind",
                    "index",
                    "count",
                    "join",
                    "removeprefix",
                    "removesuffix",
                    "isdigit",
                    "isalpha",
                    "isalnum",
                    "isspace",
                    "isupper",
                    "islower",
                    "format");
    private static final Set<String> MAP_METHODS = Set.of("items", "keys", "values", "get");
    private static final Set<String> LIST_METHODS = Set.of("index", "count");

    private Members() {}

    /** {@code target.name}: a method where there is one, else the item of that name. */
    static Object attribute(Object target, String name) {
        return switch (target) {
            case String text when TEXT_METHODS.contains(name) ->
                    (Function) (a, n) -> text(text, new Arguments(name, a, n));
            case Map<?, ?> map when MAP_METHODS.contains(name) ->
                    (Function) (a, n) -> map(map, new Arguments(name, a, n));
            case List<?> list when LIST_METHODS.contains(name) ->
                    (Function) (a, n) -> list(list, new Arguments(name, a, n));
            case null, default -> item(target, name);
        };
    }

    /** {@code target[key]}; undefined where there is none. */
    static Object item(Object target, Object key) {
        return switch (target) {
            case Map<?, ?> map -> map.containsKey(Values.key(key)) ? map.get(key) : missing(key);
            case Namespace space ->
                    space.values().containsKey(key) ? space.values().get(key) : missing(key);
            case List<?> list when Values.isWhole(key) -> {
                int at = place(Values.whole(key, "index"), list.size());
                yield at < 0 ? missing(key) : list.get(at);
            }
            case String text when Values.isWhole(key) -> {
                int at = place(Values.whole(key, "index"), Text.length(text));
                yield at < 0 ? missing(key) : Text.at(text, at);
            }
            case Undefined undefined ->
                    throw new TemplateException(
                            undefined.name() + " is undefined, so it has no " + Values.show(key));
            case null, default -> missing(key);
        };
    }

    private static int place(long index, int size) {
        long at = index < 0 ? index + size : index;
        return at < 0 || at >= size ? -1 : (int) at;
    }

    private static Undefined missing(Object key) {
        return new Undefined(Values.show(key));
    }

    /** {@code a.b.0}, as filters name attributes. */
    static Object path(Object target, String path) {
        Object value = target;
        for (String name : path.split("\\.")) {
            boolean number =
                    !name.isEmpty()
                            && name.length() < 10
                            && name.chars().allMatch(c -> c >= '0' && c <= '9');
            value = item(value, number ? (Object) Long.valueOf(name) : name);
        }
        return value;
    }

    /** {@code target[from:to:step]}. */
    static Object slice(Object target, Object from, Object to, Object step) {
        if (target instanceof String text) {
            int[] points = text.codePoints().toArray();
            StringBuilder slice = new StringBuilder();
            for (int at : places(points.length, from, to, step)) {
                slice.appendCodePoint(points[at]);
            }
            return slice.toString();
        }
        List<?> items = Values.items(target, "a slice");
        List<Object> slice = new ArrayList<>();
        for (int at : places(items.size(), from, to, step)) {
            slice.add(items.get(at));
        }
        return slice;
    }

    private static List<Integer> places(int size, Object from, Object to, Object step) {
        long by = step == null ? 1 : Values.whole(step, "a slice's step");
        if (by == 0) {
            throw new TemplateException("a slice's step is 0");
        }
        long first = by > 0 ? 0 : size - 1L;
        long end = by > 0 ? size : -1;
        long at = from == null ? first : clamp(Values.whole(from, "a slice's start"), size, by);
        long stop = to == null ? end : clamp(Values.whole(to, "a slice's end"), size, by);
        List<Integer> places = new ArrayList<>();
        for (; by > 0 ? at < stop : at > stop; at += by) {
            places.add((int) at);
        }
        return places;
    }

    private static long clamp(long index, int size, long by) {
        long at = index < 0 ? index + size : index;
        return Math.clamp(at, by > 0 ? 0 : -1, by > 0 ? size : size - 1);
    }

    private static Object text(String text, Arguments a) {
        return switch (a.callee()) {
            case "strip" -> Text.strip(text, a.textOrNull(0, "chars"));
            case "lstrip" -> Text.stripStart(text, a.textOrNull(0, "chars"));
            case "rstrip" -> Text.stripEnd(text, a.textOrNull(0, "chars"));
            case "split" -> Text.split(text, separator(a), a.whole(1, "maxsplit", -1));
            case "rsplit" -> Text.splitFromEnd(text, a.text(0, "sep"), a.whole(1, "maxsplit", -1));
            case "splitlines" -> Text.lines(text);
            case "startswith" ->
                    affixes(a).stream()
                            .anyMatch(affix -> text.startsWith(Values.text(affix, "prefix")));
            case "endswith" ->
                    affixes(a).stream()
                            .anyMatch(affix -> text.endsWith(Values.text(affix, "suffix")));
            case "upper" -> text.toUpperCase(Locale.ROOT);
            case "lower" -> text.toLowerCase(Locale.ROOT);
            case "title" -> Text.title(text);
            case "capitalize" -> Text.capitalize(text);
            case "replace" -> Filters.apply("replace", text, a);
            case "find" -> place(text, text.indexOf(a.text(0, "sub")));
            case "rfind" -> place(text, text.lastIndexOf(a.text(0, "sub")));
            case "index" -> {
                if (!text.contains(a.text(0, "sub"))) {
                    throw new TemplateException(
                            "index: the text does not contain " + Values.repr(a.text(0, "sub")));
                }
                yield place(text, text.indexOf(a.text(0, "sub")));
            }
            case "count" -> {
                String part = a.text(0, "sub");
                yield part.isEmpty()
                        ? Text.length(text) + 1L
                        : Text.split(text, part, -1).size() - 1L;
            }
            case "join" -> {
                for (Object item : Values.items(a.required(0, "iterable"), "join")) {
                    Values.text(item, "each item of join");
                }
                yield Filters.apply(
                        "join",
                        a.required(0, "iterable"),
                        new Arguments("join", List.of(text), Map.of()));
            }
            case "removeprefix" ->
                    text.startsWith(a.text(0, "prefix"))
                            ? text.substring(a.text(0, "prefix").length())
                            : text;
            case "removesuffix" ->
                    text.endsWith(a.text(0, "suffix"))
                            ? text.substring(0, text.length() - a.text(0, "suffix").length())
                            : text;
            case "isdigit" -> all(text, Character::isDigit);
            case "isalpha" -> all(text, Character::isLetter);
            case "isalnum" -> all(text, Character::isLetterOrDigit);
            case "isspace" -> all(text, Text::isSpace);
            case "isupper" ->
                    !text.equals(text.toLowerCase(Locale.ROOT))
                            && text.equals(text.toUpperCase(Locale.ROOT));
            case "islower" ->
                    !text.equals(text.toUpperCase(Locale.ROOT))
                            && text.equals(text.toLowerCase(Locale.ROOT));
            default -> format(text, a);
        };
    }

    private static String separator(Arguments arguments) {
        String separator = arguments.textOrNull(0, "sep");
        if (separator != null && separator.isEmpty()) {
            throw new TemplateException("split needs a separator that is not empty");
        }
        return separator;
    }

    private static List<?> affixes(Arguments arguments) {
        Object affix = arguments.required(0, "prefix");
        return affix instanceof List<?> several
                ? several
                : List.of(Values.text(affix, arguments.callee() + "'s argument"));
    }

    private static boolean all(String text, java.util.function.IntPredicate predicate) {
        return !text.isEmpty() && text.codePoints().allMatch(predicate);
    }

    private static long place(String text, int at) {
        return at < 0 ? -1 : text.codePointCount(0, at);
    }

    /** {@code str.format} with plain fields, {@code {}} or {@code {name}}. */
    private static String format(String text, Arguments arguments) {
        StringBuilder out = new StringBuilder();
        int next = 0;
        for (int at = 0; at < text.length(); at++) {
            char c = text.charAt(at);
            if ((c == '{' || c == '}') && at + 1 < text.length() && text.charAt(at + 1) == c) {
                out.append(c);
                at++;
            } else if (c == '{') {
                int end = text.indexOf('}', at);
                String field = end < 0 ? "" : text.substring(at + 1, end);
                if (end < 0 || !field.matches("\\w*")) {
                    throw new TemplateException("format: only {} and {name} are supported");
                }
                boolean place =
                        field.isEmpty() || Character.isDigit(field.charAt(0)) && field.length() < 4;
                int index =
                        field.isEmpty()
                                ? next++
                                : place ? Integer.parseInt(field) : Integer.MAX_VALUE;
                out.append(Values.show(arguments.required(index, field)));
                at = end;
            } else {
                out.append(c);
            }
            Limits.checkLength(out.length());
        }
        return out.toString();
    }

    private static Object map(Map<?, ?> map, Arguments arguments) {
        return switch (arguments.callee()) {
            case "items" -> Filters.entries(map);
            case "keys" -> new ArrayList<Object>(map.keySet());
            case "values" -> new ArrayList<Object>(map.values());
            default -> {
                Object key = Values.key(arguments.required(0, "key"));
                yield map.containsKey(key) ? map.get(key) : arguments.get(1, "default", null);
            }
        };
    }

    private static Object list(List<?> list, Arguments arguments) {
        Object wanted = arguments.required(0, "value");
        if (arguments.callee().equals("count")) {
            return list.stream().filter(item -> Values.equal(item, wanted)).count();
        }
        for (int i = 0; i < list.size(); i++) {
            if (Values.equal(list.get(i), wanted)) {
                return (long) i;
            }
        }
        throw new TemplateException("index: the list does not contain " + Values.repr(wanted));
    }
}
