package dev.millrace.models.chat.jinja;

import dev.millrace.models.chat.jinja.Token.Kind;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** Statements: what is between the braces-and-percent tags. */
final class Parser {
    private final Tokens tokens;
    private final ExpressionParser expressions;

    private Parser(Tokens tokens) {
        this.tokens = tokens;
        this.expressions = new ExpressionParser(tokens);
    }

    static List<Stmt> parse(String source) {
        Parser parser = new Parser(new Tokens(Lexer.tokens(source)));
        List<Stmt> body = parser.body(Set.of());
        if (!parser.tokens.at(Kind.END)) {
            throw parser.tokens.unexpected("the end of the template");
        }
        return body;
    }

    /**
     * Statements up to a block that begins with one of these names; the name is then the next
     * token.
     */
    private List<Stmt> body(Set<String> ends) {
        tokens.enter();
        List<Stmt> body = new ArrayList<>();
        while (!tokens.at(Kind.END)) {
            Token token = tokens.next();
            switch (token.kind()) {
                case TEXT -> body.add(new Stmt.Text(token.text()));
                case PRINT_BEGIN -> {
                    body.add(new Stmt.Print(expressions.expressionOrList(), token.line()));
                    tokens.expect(Kind.PRINT_END, "}}");
                }
                default -> {
                    if (tokens.at(Kind.NAME) && ends.contains(tokens.peek().text())) {
                        tokens.leave();
                        return body;
                    }
                    body.add(statement());
                }
            }
        }
        if (!ends.isEmpty()) {
            throw tokens.unexpected("{% " + ends.iterator().next() + " %}");
        }
        tokens.leave();
        return body;
    }

    private Stmt statement() {
        Token name = tokens.expect(Kind.NAME, "a statement");
        return switch (name.text()) {
            case "if" -> ifElse(name.line());
            case "for" -> loop(name.line());
            case "set" -> set(name.line());
            case "macro" -> macro(name.line());
            case "generation" -> {
                endBlock();
                List<Stmt> body = body(Set.of("endgeneration"));
                end();
                yield new Stmt.Group(body);
            }
            case "break" -> {
                endBlock();
                yield new Stmt.Break();
            }
            case "continue" -> {
                endBlock();
                yield new Stmt.Continue();
            }
            default ->
                    throw TemplateException.at(
                            name.line(), "the statement " + name.text() + " is not supported");
        };
    }

    private Stmt ifElse(int line) {
        List<Expr> conditions = new ArrayList<>();
        List<List<Stmt>> bodies = new ArrayList<>();
        do {
            conditions.add(expressions.expressionOrList());
            endBlock();
            bodies.add(body(Set.of("endif", "elif", "else")));
        } while (tokens.takeName("elif"));
        if (tokens.takeName("else")) {
            endBlock();
            bodies.add(body(Set.of("endif")));
        }
        end();
        return new Stmt.If(conditions, bodies, line);
    }

    private Stmt loop(int line) {
        List<String> targets = names();
        if (!tokens.takeName("in")) {
            throw tokens.unexpected("in");
        }
        Expr items = expressions.or();
        Expr filter = tokens.takeName("if") ? expressions.expression() : null;
        endBlock();
        List<Stmt> body = body(Set.of("endfor", "else"));
        List<Stmt> otherwise = List.of();
        if (tokens.takeName("else")) {
            endBlock();
            otherwise = body(Set.of("endfor"));
        }
        end();
        return new Stmt.For(targets, items, filter, body, otherwise, line);
    }

    private Stmt set(int line) {
        if (tokens.peekAfter().is(Kind.OPERATOR, ".")) {
            String space = tokens.expect(Kind.NAME, "a namespace").text();
            tokens.next();
            String name = tokens.expect(Kind.NAME, "a name").text();
            tokens.expectOperator("=");
            Expr value = expressions.expressionOrList();
            endBlock();
            return new Stmt.SetAttribute(space, name, value, line);
        }
        List<String> targets = names();
        if (tokens.takeOperator("=")) {
            Expr value = expressions.expressionOrList();
            endBlock();
            return new Stmt.Set(targets, value, line);
        }
        List<Expr.Filter> filters = new ArrayList<>();
        while (tokens.takeOperator("|")) {
            filters.add(expressions.filter(null));
        }
        endBlock();
        List<Stmt> body = body(Set.of("endset"));
        end();
        return new Stmt.SetBlock(targets.getFirst(), filters, body, line);
    }

    private Stmt macro(int line) {
        String name = tokens.expect(Kind.NAME, "the name of the macro").text();
        List<String> parameters = new ArrayList<>();
        List<Expr> defaults = new ArrayList<>();
        tokens.expectOperator("(");
        while (!tokens.atOperator(")")) {
            parameters.add(tokens.expect(Kind.NAME, "a parameter").text());
            defaults.add(tokens.takeOperator("=") ? expressions.expression() : null);
            if (!tokens.takeOperator(",")) {
                break;
            }
        }
        tokens.expectOperator(")");
        endBlock();
        List<Stmt> body = body(Set.of("endmacro"));
        end();
        return new Stmt.Macro(name, parameters, defaults, body, line);
    }

    private List<String> names() {
        boolean bracket = tokens.takeOperator("(");
        List<String> names = new ArrayList<>();
        do {
            names.add(tokens.expect(Kind.NAME, "a name").text());
        } while (tokens.takeOperator(","));
        if (bracket) {
            tokens.expectOperator(")");
        }
        return names;
    }

    /** The name that ends a block, and the end of its tag. */
    private void end() {
        tokens.next();
        endBlock();
    }

    private void endBlock() {
        tokens.expect(Kind.BLOCK_END, "%}");
    }
}
