package dev.millrace.models.chat.jinja;

import dev.millrace.models.chat.jinja.Token.Kind;
import java.util.List;

/** The tokens still to be parsed. */
final class Tokens {
    /** Brackets and blocks inside one another; the deepest published templates need about 10. */
    private static final int MAX_NESTING = 100;

    private final List<Token> tokens;
    private int at;
    private int nesting;

    Tokens(List<Token> tokens) {
        this.tokens = tokens;
    }

    Token peek() {
        return tokens.get(at);
    }

    Token peekAfter() {
        return tokens.get(Math.min(at + 1, tokens.size() - 1));
    }

    Token next() {
        Token token = tokens.get(at);
        at = Math.min(at + 1, tokens.size() - 1);
        return token;
    }

    boolean at(Kind kind) {
        return peek().kind() == kind;
    }

    boolean atOperator(String text) {
        return peek().is(Kind.OPERATOR, text);
    }

    boolean atName(String text) {
        return peek().is(Kind.NAME, text);
    }

    boolean takeOperator(String text) {
        return atOperator(text) && next() != null;
    }

    boolean takeName(String text) {
        return atName(text) && next() != null;
    }

    Token expect(Kind kind, String what) {
        if (!at(kind)) {
            throw unexpected(what);
        }
        return next();
    }

    void expectOperator(String text) {
        if (!takeOperator(text)) {
            throw unexpected(text);
        }
    }

    TemplateException unexpected(String wanted) {
        return TemplateException.at(
                peek().line(), "expected " + wanted + ", found " + peek().shown());
    }

    void enter() {
        if (++nesting > MAX_NESTING) {
            throw TemplateException.at(
                    peek().line(), "nested deeper than " + MAX_NESTING + " levels");
        }
    }

    void leave() {
        nesting--;
    }
}
