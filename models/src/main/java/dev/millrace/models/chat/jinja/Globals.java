package dev.millrace.models.chat.jinja;

import dev.millrace.models.chat.jinja.Values.Function;
import dev.millrace.models.chat.jinja.Values.Namespace;
import java.time.Clock;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The functions that every chat template may call. */
final class Globals {
    private Globals() {}

    static Map<String, Object> of(Clock clock) {
        Map<String, Object> globals = new LinkedHashMap<>();
        globals.put("range", (Function) (a, n) -> range(a));
        globals.put("dict", (Function) (a, n) -> copy(a, n));
        globals.put("namespace", (Function) (a, n) -> new Namespace(copy(a, n)));
        globals.put(
                "raise_exception",
                (Function)
                        (a, n) -> {
                            throw new TemplateException(
                                    "the template refuses this conversation: "
                                            + Values.show(a.isEmpty() ? "" : a.getFirst()));
                        });
        globals.put(
                "strftime_now",
                (Function)
                        (a, n) ->
                                strftime(
                                        new Arguments("strftime_now", a, n).text(0, "format"),
                                        ZonedDateTime.now(clock)));
        return globals;
    }

    private static Map<String, Object> copy(List<Object> arguments, Map<String, Object> named) {
        Map<String, Object> copy = new LinkedHashMap<>();
        if (!arguments.isEmpty()) {
            for (Object entry : Filters.entries(arguments.getFirst())) {
                List<?> pair = (List<?>) entry;
                copy.put(Values.show(pair.getFirst()), pair.getLast());
            }
        }
        copy.putAll(named);
        return copy;
    }

    private static List<Object> range(List<Object> arguments) {
        Arguments a = new Arguments("range", arguments, Map.of());
        long from = arguments.size() < 2 ? 0 : a.whole(0, "start", 0);
        long to = a.whole(arguments.size() < 2 ? 0 : 1, "stop", 0);
        long by = a.whole(2, "step", 1);
        if (by == 0) {
            throw new TemplateException("range needs a step that is not 0");
        }
        List<Object> range = new ArrayList<>();
        for (long i = from; by > 0 ? i < to : i > to; i += by) {
            Limits.checkItems(range.size() + 1L);
            range.add(i);
        }
        return range;
    }

    /** The directives of C's {@code strftime} that dates in prompts use, in English. */
    static String strftime(String format, ZonedDateTime time) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < format.length(); i++) {
            if (format.charAt(i) != '%' || i + 1 == format.length()) {
                out.append(format.charAt(i));
                continue;
            }
            boolean bare = format.charAt(++i) == '-' && i + 1 < format.length();
            char directive = bare ? format.charAt(++i) : format.charAt(i);
            String pattern = pattern(directive);
            if (pattern.equals("%")) {
                out.append('%');
            } else {
                String text = DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH).format(time);
                out.append(
                        bare && text.length() > 1 && text.charAt(0) == '0'
                                ? text.substring(1)
                                : text);
            }
        }
        return out.toString();
    }

    private static String pattern(char directive) {
        return switch (directive) {
            case 'Y' -> "uuuu";
            case 'y' -> "uu";
            case 'm' -> "MM";
            case 'd' -> "dd";
            case 'B' -> "LLLL";
            case 'b', 'h' -> "LLL";
            case 'A' -> "EEEE";
            case 'a' -> "EEE";
            case 'H' -> "HH";
            case 'I' -> "hh";
            case 'M' -> "mm";
            case 'S' -> "ss";
            case 'p' -> "a";
            case 'j' -> "DDD";
            case 'Z' -> "zzz";
            case 'z' -> "xx";
            case 'F' -> "uuuu-MM-dd";
            case 'T' -> "HH:mm:ss";
            case '%' -> "%";
            default ->
                    throw new TemplateException(
                            "strftime_now: %" + directive + " is not supported");
        };
    }
}
