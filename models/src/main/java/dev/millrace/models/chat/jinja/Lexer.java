package dev.millrace.models.chat.jinja;

import dev.millrace.models.chat.jinja.Token.Kind;
import java.util.ArrayList;
import java.util.List;

/**
 * Cuts a template into tokens, with the white-space rules that chat templates are written for:
 * {@code trim_blocks} (the newline after a block or comment goes), {@code lstrip_blocks} (so does
 * the indentation before one that begins its line), a final newline goes, {@code -} strips all
 * white space on its side, {@code +} switches the rule off.
 */
final class Lexer {
    /** Longest first. */
    private static final String[] OPERATORS = {
        "==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")",
        "[", "]", "{", "}", ",", ".", ":", "|", ";"
    };

    private final String source;
    private final List<Token> tokens = new ArrayList<>();
    private int at;
    private int line = 1;

    /** Whether the token before this text ended with a newline, or there was none. */
    private boolean lineStart = true;

    private Lexer(String source) {
        String unix = source.replace("\r\n", "\n").replace('\r', '\n');
        this.source = unix.endsWith("\n") ? unix.substring(0, unix.length() - 1) : unix;
    }

    static List<Token> tokens(String source) {
        Lexer lexer = new Lexer(source);
        lexer.template();
        return lexer.tokens;
    }

    private void template() {
        while (at < source.length()) {
            int tag = nextTag();
            if (tag < 0) {
                text(source.substring(at));
                advance(source.length());
                break;
            }
            char kind = source.charAt(tag + 1);
            char sign = tag + 2 < source.length() ? source.charAt(tag + 2) : ' ';
            text(before(tag, kind, sign));
            advance(tag + 2 + (sign == '-' || sign == '+' ? 1 : 0));
            switch (kind) {
                case '#' -> comment();
                case '%' -> block();
                default -> {
                    add(Kind.PRINT_BEGIN, "{{");
                    code("}}", Kind.PRINT_END);
                    lineStart = false;
                }
            }
        }
        add(Kind.END, "");
    }

    private int nextTag() {
        for (int i = source.indexOf('{', at);
                i >= 0 && i + 1 < source.length();
                i = source.indexOf('{', i + 1)) {
            char c = source.charAt(i + 1);
            if (c == '{' || c == '%' || c == '#') {
                return i;
            }
        }
        return -1;
    }

    /** The text up to a tag, without what the tag strips. */
    private String before(int tag, char kind, char sign) {
        String text = source.substring(at, tag);
        if (sign == '-') {
            return Text.stripEnd(text, null);
        }
        if (sign == '+' || kind == '{') {
            return text;
        }
        int begin = text.lastIndexOf('\n') + 1;
        boolean indentation =
                (begin > 0 || lineStart) && Text.strip(text.substring(begin), null).isEmpty();
        return indentation ? text.substring(0, begin) : text;
    }

    private void text(String text) {
        if (!text.isEmpty()) {
            add(Kind.TEXT, text);
        }
    }

    private void comment() {
        int end = source.indexOf("#}", at);
        if (end < 0) {
            throw TemplateException.at(line, "a comment has no end, #}");
        }
        char sign = end > at ? source.charAt(end - 1) : ' ';
        advance(end + 2);
        afterTag(sign);
    }

    private void block() {
        int open = tokens.size();
        add(Kind.BLOCK_BEGIN, "{%");
        char sign = code("%}", Kind.BLOCK_END);
        if (tokens.size() == open + 3 && tokens.get(open + 1).is(Kind.NAME, "raw")) {
            tokens.subList(open, tokens.size()).clear();
            // Jinja keeps the newline after this one tag.
            if (sign == '-') {
                skipSpace();
            }
            raw();
        } else {
            afterTag(sign);
        }
    }

    private void raw() {
        int tag = at;
        while ((tag = source.indexOf("{%", tag)) >= 0) {
            int i = tag + 2;
            char before = i < source.length() ? source.charAt(i) : ' ';
            i += before == '-' || before == '+' ? 1 : 0;
            while (i < source.length() && Text.isSpace(source.charAt(i))) {
                i++;
            }
            if (source.startsWith("endraw", i)) {
                text(before(tag, '%', before));
                advance(i);
                afterTag(code("%}", Kind.BLOCK_END));
                tokens.removeLast();
                tokens.removeLast();
                return;
            }
            tag += 2;
        }
        throw TemplateException.at(line, "a raw block has no end, {% endraw %}");
    }

    /** What the end of a block or comment takes away after it. */
    private void afterTag(char sign) {
        int from = at;
        if (sign == '-') {
            skipSpace();
        } else if (sign != '+' && at < source.length() && source.charAt(at) == '\n') {
            advance(at + 1);
        }
        lineStart = at > from && source.charAt(at - 1) == '\n';
    }

    /**
     * Reads tokens up to the end of a tag.
     *
     * @return the sign before the end, or a space
     */
    private char code(String end, Kind endKind) {
        int opened = line;
        int brackets = 0;
        while (true) {
            skipSpace();
            if (at >= source.length()) {
                throw TemplateException.at(opened, "a tag has no end, " + end);
            }
            char c = source.charAt(at);
            boolean signed = (c == '-' || c == '+') && source.startsWith(end, at + 1);
            if (brackets == 0 && (signed || source.startsWith(end, at))) {
                add(endKind, end);
                advance(at + end.length() + (signed ? 1 : 0));
                if (endKind == Kind.PRINT_END && c == '-') {
                    skipSpace();
                }
                return signed ? c : ' ';
            }
            if (c == '\'' || c == '"') {
                string(c);
            } else if (c >= '0' && c <= '9') {
                number();
            } else if (Character.isLetter(c) || c == '_') {
                int from = at;
                while (at < source.length()
                        && (Character.isLetterOrDigit(source.charAt(at))
                                || source.charAt(at) == '_')) {
                    at++;
                }
                add(Kind.NAME, source.substring(from, at));
            } else {
                String operator = operator();
                add(Kind.OPERATOR, operator);
                at += operator.length();
                brackets += "([{".contains(operator) ? 1 : ")]}".contains(operator) ? -1 : 0;
            }
        }
    }

    private String operator() {
        for (String operator : OPERATORS) {
            if (source.startsWith(operator, at)) {
                return operator;
            }
        }
        throw TemplateException.at(line, "unexpected character '" + source.charAt(at) + "'");
    }

    private void number() {
        int from = at;
        digits();
        boolean fraction =
                at + 1 < source.length()
                        && source.charAt(at) == '.'
                        && Character.isDigit(source.charAt(at + 1));
        if (fraction) {
            at++;
            digits();
        }
        if (source.substring(at, Math.min(source.length(), at + 3))
                .matches("[eE]([0-9].?|[+-][0-9])")) {
            fraction = true;
            at += 2;
            digits();
        }
        add(fraction ? Kind.FLOAT : Kind.INTEGER, source.substring(from, at).replace("_", ""));
    }

    private void digits() {
        while (at < source.length()
                && (Character.isDigit(source.charAt(at)) || source.charAt(at) == '_')) {
            at++;
        }
    }

    private void string(char quote) {
        StringBuilder value = new StringBuilder();
        int begin = line;
        for (int i = at + 1; i < source.length(); i++) {
            char c = source.charAt(i);
            if (c == quote) {
                advance(i + 1);
                tokens.add(new Token(Kind.STRING, value.toString(), begin));
                return;
            }
            if (c == '\\' && i + 1 < source.length()) {
                i = escape(i + 1, value);
            } else {
                value.append(c);
            }
        }
        throw TemplateException.at(begin, "a string has no end, " + quote);
    }

    /**
     * Appends what the escape at {@code i} (the character after the backslash) stands for; returns
     * its last place.
     */
    private int escape(int i, StringBuilder value) {
        char c = source.charAt(i);
        int plain = "nrtbfav0\\'\"".indexOf(c);
        if (plain >= 0) {
            value.append("\n\r\t\b\f\u0007\u000b\0\\'\"".charAt(plain));
            return i;
        }
        int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
        if (digits > 0 && i + digits < source.length()) {
            try {
                value.appendCodePoint(
                        Integer.parseInt(source.substring(i + 1, i + 1 + digits), 16));
                return i + digits;
            } catch (IllegalArgumentException e) {
                throw TemplateException.at(
                        line, "\\" + c + " in a string is not followed by a character's number");
            }
        }
        if (c != '\n') {
            value.append('\\').append(c);
        }
        return i;
    }

    private void skipSpace() {
        int end = at;
        while (end < source.length() && Text.isSpace(source.charAt(end))) {
            end++;
        }
        advance(end);
    }

    /** Moves on, counting lines. */
    private void advance(int to) {
        for (; at < to; at++) {
            if (source.charAt(at) == '\n') {
                line++;
            }
        }
    }

    private void add(Kind kind, String text) {
        tokens.add(new Token(kind, text, line));
    }
}
