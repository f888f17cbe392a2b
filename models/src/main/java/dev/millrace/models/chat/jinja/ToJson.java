package dev.millrace.models.chat.jinja;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Python's {@code json.dumps(value, ensure_ascii=False, indent=…)}, as chat templates expect of
 * {@code tojson}.
 */
final class ToJson {
    private final StringBuilder out = new StringBuilder();
    private final String indent;
    private final boolean sorted;

    private ToJson(String indent, boolean sorted) {
        this.indent = indent;
        this.sorted = sorted;
    }

    /**
     * @param indent one level of indentation, or null for everything on one line
     */
    static String of(Object value, String indent, boolean sorted) {
        ToJson json = new ToJson(indent, sorted);
        json.write(value, 0);
        return json.out.toString();
    }

    private void write(Object value, int depth) {
        Limits.enter();
        Limits.checkLength(out.length());
        switch (value) {
            case null -> out.append("null");
            case Boolean flag -> out.append(flag.booleanValue());
            case Long number -> out.append(number.longValue());
            case Double number -> out.append(number(number));
            case String text -> quoted(text);
            case List<?> list -> {
                out.append('[');
                for (int i = 0; i < list.size(); i++) {
                    separate(i, depth + 1);
                    write(list.get(i), depth + 1);
                }
                close(list.isEmpty(), ']', depth);
            }
            case Map<?, ?> map -> {
                out.append('{');
                int i = 0;
                for (Map.Entry<?, ?> entry : (sorted ? new TreeMap<>(map) : map).entrySet()) {
                    separate(i++, depth + 1);
                    quoted(
                            entry.getKey() instanceof String key
                                    ? key
                                    : of(entry.getKey(), null, false));
                    out.append(": ");
                    write(entry.getValue(), depth + 1);
                }
                close(map.isEmpty(), '}', depth);
            }
            default -> throw new TemplateException("tojson cannot write " + Values.kind(value));
        }
        Limits.leave();
    }

    private static String number(double value) {
        return Double.isNaN(value)
                ? "NaN"
                : Double.isInfinite(value)
                        ? value > 0 ? "Infinity" : "-Infinity"
                        : Values.number(value);
    }

    private void separate(int index, int depth) {
        if (indent != null) {
            out.append(index == 0 ? "\n" : ",\n").append(indent.repeat(depth));
        } else if (index > 0) {
            out.append(", ");
        }
    }

    private void close(boolean empty, char bracket, int depth) {
        if (indent != null && !empty) {
            out.append('\n').append(indent.repeat(depth));
        }
        out.append(bracket);
    }

    private void quoted(String text) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '"' -> out.append("\\\"");
                case '\\' -> out.append("\\\\");
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                case '\b' -> out.append("\\b");
                case '\f' -> out.append("\\f");
                default -> {
                    if (c < ' ') {
                        out.append(String.format("\\u%04x", (int) c));
                    } else {
                        out.append(c);
                    }
                }
            }
        }
        out.append('"');
    }
}
