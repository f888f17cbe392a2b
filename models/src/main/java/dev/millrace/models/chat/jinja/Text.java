package dev.millrace.models.chat.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** What Python's {@code str} does, where Java's differs: white space, splitting, code points. */
final class Text {
    private Text() {}

    static boolean isSpace(int c) {
        return c == ' '
                || c >= 0x9 && c <= 0xD
                || c >= 0x1C && c <= 0x1F
                || c == 0x85
                || c == 0xA0
                || c > 0xFF && (Character.isSpaceChar(c) && c != 0x200B);
    }

    /**
     * @param chars the characters to strip, or null for white space
     */
    static String strip(String text, String chars) {
        return stripEnd(stripStart(text, chars), chars);
    }

    static String stripStart(String text, String chars) {
        int from = 0;
        while (from < text.length() && strips(text.codePointAt(from), chars)) {
            from += Character.charCount(text.codePointAt(from));
        }
        return text.substring(from);
    }

    static String stripEnd(String text, String chars) {
        int to = text.length();
        while (to > 0 && strips(text.codePointBefore(to), chars)) {
            to -= Character.charCount(text.codePointBefore(to));
        }
        return text.substring(0, to);
    }

    private static boolean strips(int c, String chars) {
        return chars == null ? isSpace(c) : chars.indexOf(c) >= 0;
    }

    static int length(String text) {
        return text.codePointCount(0, text.length());
    }

    /** The character at a place counted in code points, which exists. */
    static String at(String text, int index) {
        int from = text.offsetByCodePoints(0, index);
        return text.substring(from, text.offsetByCodePoints(from, 1));
    }

    /** {@code str.split}: at white space, dropping empty parts, where {@code separator} is null. */
    static List<Object> split(String text, String separator, long max) {
        List<Object> parts = new ArrayList<>();
        if (separator == null) {
            String rest = stripStart(text, null);
            while (!rest.isEmpty()) {
                int end = 0;
                while (end < rest.length() && !isSpace(rest.charAt(end))) {
                    end++;
                }
                if (max >= 0 && parts.size() == max) {
                    parts.add(rest);
                    break;
                }
                parts.add(rest.substring(0, end));
                rest = stripStart(rest.substring(end), null);
            }
            return parts;
        }
        int from = 0;
        for (int at;
                (max < 0 || parts.size() < max) && (at = text.indexOf(separator, from)) >= 0; ) {
            parts.add(text.substring(from, at));
            from = at + separator.length();
        }
        parts.add(text.substring(from));
        return parts;
    }

    /** {@code str.rsplit} with a separator. */
    static List<Object> splitFromEnd(String text, String separator, long max) {
        List<Object> parts = new ArrayList<>();
        int to = text.length();
        for (int at;
                (max < 0 || parts.size() < max)
                        && (at = text.lastIndexOf(separator, to - separator.length())) >= 0; ) {
            parts.addFirst(text.substring(at + separator.length(), to));
            to = at;
        }
        parts.addFirst(text.substring(0, to));
        return parts;
    }

    static List<Object> lines(String text) {
        return new ArrayList<>(text.lines().toList());
    }

    static String capitalize(String text) {
        if (text.isEmpty()) {
            return text;
        }
        int first = text.offsetByCodePoints(0, 1);
        return text.substring(0, first).toUpperCase(Locale.ROOT)
                + text.substring(first).toLowerCase(Locale.ROOT);
    }

    /** Jinja's own {@code title}: words begin after white space, a hyphen or an opening bracket. */
    static String headline(String text) {
        StringBuilder headline = new StringBuilder();
        boolean begin = true;
        for (int c : text.codePoints().toArray()) {
            headline.appendCodePoint(begin ? Character.toUpperCase(c) : Character.toLowerCase(c));
            begin = isSpace(c) || "-({[<".indexOf(c) >= 0;
        }
        return headline.toString();
    }

    /** Every letter after a non-letter becomes a capital. */
    static String title(String text) {
        StringBuilder title = new StringBuilder();
        boolean inWord = false;
        for (int c : text.codePoints().toArray()) {
            title.appendCodePoint(inWord ? Character.toLowerCase(c) : Character.toTitleCase(c));
            inWord = Character.isLetter(c);
        }
        return title.toString();
    }

    /** Replaces the first {@code max} occurrences; all where it is negative. */
    static String replace(String text, String old, String with, long max) {
        if (max < 0) {
            return text.replace(old, with);
        }
        StringBuilder result = new StringBuilder();
        int from = 0;
        for (long n = 0; n < max && from <= text.length(); n++) {
            int at = text.indexOf(old, from);
            if (at < 0) {
                break;
            }
            result.append(text, from, at).append(with);
            from = at + old.length();
            if (old.isEmpty()) {
                if (from == text.length()) {
                    return result.toString();
                }
                result.append(text.charAt(from++));
            }
        }
        return result.append(text, Math.min(from, text.length()), text.length()).toString();
    }

    /** Indents all lines but the first, and empty ones unless asked. */
    static String indent(String text, String by, boolean first, boolean blank) {
        List<Object> lines = lines(text + "\n");
        StringBuilder result = new StringBuilder(first ? by : "").append(lines.getFirst());
        for (Object line : lines.subList(1, lines.size())) {
            result.append('\n').append(blank || !line.equals("") ? by : "").append(line);
        }
        return result.toString();
    }

    static String escapeHtml(String text) {
        return text.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("'", "&#39;")
                .replace("\"", "&#34;");
    }
}
