package dev.millrace.models.chat.jinja;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * Values as Python has them: {@code null} (None), {@link Boolean}, {@link Long}, {@link Double},
 * {@link String}, {@link List}, {@link Map}, {@link Function}, {@link Namespace} and {@link
 * Undefined}.
 */
final class Values {
    private Values() {}

    /** A name or key that has no value: false, empty, and printed as nothing. */
    record Undefined(String name) {
        @Override
        public boolean equals(Object other) {
            return other instanceof Undefined;
        }

        @Override
        public int hashCode() {
            return 0;
        }
    }

    /** Something that a template can call. */
    @FunctionalInterface
    interface Function {
        Object call(List<Object> arguments, Map<String, Object> named);
    }

    /** Variables that a loop can change for those outside it. */
    record Namespace(Map<String, Object> values) {}

    /** A value of the program as one of a template. */
    static Object of(Object value) {
        return switch (value) {
            case null -> null;
            case Boolean flag -> flag;
            case Double number -> number;
            case Float number -> number.doubleValue();
            case Number number -> number.longValue();
            case List<?> list -> {
                List<Object> copy = new ArrayList<>(list.size());
                list.forEach(item -> copy.add(of(item)));
                yield copy;
            }
            case Map<?, ?> map -> {
                Map<Object, Object> copy = new LinkedHashMap<>();
                map.forEach((key, item) -> copy.put(of(key), of(item)));
                yield copy;
            }
            default -> value.toString();
        };
    }

    static boolean isTrue(Object value) {
        return switch (value) {
            case null -> false;
            case Undefined _ -> false;
            case Boolean flag -> flag;
            case Long number -> number != 0;
            case Double number -> number != 0;
            case String text -> !text.isEmpty();
            case List<?> list -> !list.isEmpty();
            case Map<?, ?> map -> !map.isEmpty();
            default -> true;
        };
    }

    static boolean isNumber(Object value) {
        return value instanceof Long || value instanceof Double || value instanceof Boolean;
    }

    /** Whether it is a whole number; True and False are. */
    static boolean isWhole(Object value) {
        return value instanceof Long || value instanceof Boolean;
    }

    static long whole(Object value, String what) {
        return switch (value) {
            case Long number -> number;
            case Boolean flag -> flag ? 1 : 0;
            case null, default ->
                    throw new TemplateException(
                            what + " should be a whole number, found " + kind(value));
        };
    }

    static double number(Object value, String what) {
        if (value instanceof Double number) {
            return number;
        }
        if (isWhole(value)) {
            return whole(value, what);
        }
        throw new TemplateException(what + " should be a number, found " + kind(value));
    }

    static String text(Object value, String what) {
        if (value instanceof String text) {
            return text;
        }
        throw new TemplateException(what + " should be text, found " + kind(value));
    }

    /**
     * The items of a list, the characters of a text, the keys of a map; nothing for what is
     * undefined.
     */
    static List<?> items(Object value, String what) {
        return switch (value) {
            case List<?> list -> list;
            case Map<?, ?> map -> List.copyOf(map.keySet());
            case String text -> text.codePoints().mapToObj(Character::toString).toList();
            case Undefined _ -> List.of();
            case null, default ->
                    throw new TemplateException(what + " cannot run over " + kind(value));
        };
    }

    static boolean equal(Object a, Object b) {
        if (isNumber(a) && isNumber(b)) {
            return isWhole(a) && isWhole(b)
                    ? whole(a, "") == whole(b, "")
                    : number(a, "") == number(b, "");
        }
        Limits.enter();
        boolean equal =
                switch (a) {
                    case List<?> left when b instanceof List<?> right -> equalItems(left, right);
                    case Map<?, ?> left when b instanceof Map<?, ?> right ->
                            left.size() == right.size()
                                    && left.entrySet().stream()
                                            .allMatch(e ->
                                                    right.containsKey(e.getKey())
                                                            && equal(
                                                                    e.getValue(),
                                                                    right.get(e.getKey())));
                    case Namespace _, Function _ -> a == b;
                    case null, default -> Objects.equals(a, b);
                };
        Limits.leave();
        return equal;
    }

    private static boolean equalItems(List<?> left, List<?> right) {
        if (left.size() != right.size()) {
            return false;
        }
        for (int i = 0; i < left.size(); i++) {
            if (!equal(left.get(i), right.get(i))) {
                return false;
            }
        }
        return true;
    }

    static int compare(Object a, Object b) {
        if (isWhole(a) && isWhole(b)) {
            return Long.compare(whole(a, ""), whole(b, ""));
        }
        if (isNumber(a) && isNumber(b)) {
            return Double.compare(number(a, ""), number(b, ""));
        }
        if (a instanceof String left && b instanceof String right) {
            return Arrays.compare(left.codePoints().toArray(), right.codePoints().toArray());
        }
        if (a instanceof List<?> left && b instanceof List<?> right) {
            Limits.enter();
            int order = Integer.compare(left.size(), right.size());
            for (int i = 0; i < Math.min(left.size(), right.size()); i++) {
                if (!equal(left.get(i), right.get(i))) {
                    order = compare(left.get(i), right.get(i));
                    break;
                }
            }
            Limits.leave();
            return order;
        }
        throw new TemplateException("cannot compare " + kind(a) + " with " + kind(b));
    }

    /** A value that can be a key of a map. */
    static Object key(Object value) {
        if (value instanceof String
                || value == null
                || isNumber(value)
                || value instanceof Undefined) {
            return value;
        }
        throw new TemplateException(kind(value) + " cannot be a key");
    }

    static boolean contains(Object container, Object item) {
        return switch (container) {
            case String text -> text.contains(text(item, "what is looked for in a text"));
            case Map<?, ?> map -> map.containsKey(key(item));
            default -> items(container, "in").stream().anyMatch(member -> equal(member, item));
        };
    }

    /** What {@code str()} makes of it. */
    static String show(Object value) {
        return value instanceof String text ? text : value instanceof Undefined ? "" : repr(value);
    }

    /** What {@code repr()} makes of it. */
    static String repr(Object value) {
        StringBuilder out = new StringBuilder();
        repr(value, out);
        return out.toString();
    }

    private static void repr(Object value, StringBuilder out) {
        Limits.enter();
        Limits.checkLength(out.length());
        switch (value) {
            case null -> out.append("None");
            case Boolean flag -> out.append(flag ? "True" : "False");
            case Double number -> out.append(number(number));
            case String text -> quoted(text, out);
            case List<?> list -> {
                boolean tuple = list instanceof Tuple;
                out.append(tuple ? '(' : '[');
                for (int i = 0; i < list.size(); i++) {
                    out.append(i == 0 ? "" : ", ");
                    repr(list.get(i), out);
                }
                out.append(tuple ? list.size() == 1 ? ",)" : ")" : "]");
            }
            case Map<?, ?> map -> {
                out.append('{');
                String separator = "";
                for (Map.Entry<?, ?> entry : map.entrySet()) {
                    out.append(separator);
                    repr(entry.getKey(), out);
                    out.append(": ");
                    repr(entry.getValue(), out);
                    separator = ", ";
                }
                out.append('}');
            }
            case Undefined _ -> out.append("Undefined");
            case Long number -> out.append(number.longValue());
            default -> out.append('<').append(kind(value)).append('>');
        }
        Limits.leave();
    }

    private static void quoted(String text, StringBuilder out) {
        char quote = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
        out.append(quote);
        text.codePoints()
                .forEach(c -> {
                    switch (c) {
                        case '\n' -> out.append("\\n");
                        case '\r' -> out.append("\\r");
                        case '\t' -> out.append("\\t");
                        case '\\' -> out.append("\\\\");
                        default -> {
                            if (c == quote) {
                                out.append('\\').append(quote);
                            } else if (c < ' ' || c >= 0x7F && c <= 0xA0 || c == 0xAD) {
                                out.append(String.format("\\x%02x", c));
                            } else {
                                out.appendCodePoint(c);
                            }
                        }
                    }
                });
        out.append(quote);
    }

    /**
     * A float with the fewest digits that read back the same, an exponent from 1e16 and below 1e-4.
     */
    static String number(double value) {
        if (Double.isNaN(value) || Double.isInfinite(value)) {
            return Double.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
        }
        if (value == 0) {
            return 1 / value < 0 ? "-0.0" : "0.0";
        }
        BigDecimal digits = new BigDecimal(Double.toString(value)).stripTrailingZeros();
        int exponent = digits.precision() - digits.scale() - 1;
        if (exponent >= -4 && exponent < 16) {
            String plain = digits.toPlainString();
            return plain.contains(".") ? plain : plain + ".0";
        }
        String mantissa = digits.movePointLeft(exponent).toPlainString();
        return mantissa
                + "e"
                + (exponent < 0 ? "-" : "+")
                + (Math.abs(exponent) < 10 ? "0" : "")
                + Math.abs(exponent);
    }

    static String kind(Object value) {
        return switch (value) {
            case null -> "none";
            case Undefined undefined -> undefined.name() + ", which is undefined";
            case Boolean _ -> "a truth value";
            case Long _, Double _ -> "a number";
            case String _ -> "text";
            case List<?> _ -> "a list";
            case Map<?, ?> _ -> "a map";
            case Namespace _ -> "a namespace";
            default -> "a function";
        };
    }
}
