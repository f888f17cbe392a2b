package dev.millrace.models.chat.jinja;

import dev.millrace.models.chat.jinja.Expr.Arguments;
import dev.millrace.models.chat.jinja.Token.Kind;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Expressions, by recursive descent in Jinja's order of precedence (Jinja documentation,
 * "Expressions").
 */
final class ExpressionParser {
    private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=");

    /** Names that go on with the expression after a test, and so are no argument of it. */
    private static final Set<String> AFTER_TEST =
            Set.of("else", "or", "and", "is", "not", "in", "if");

    private final Tokens tokens;

    ExpressionParser(Tokens tokens) {
        this.tokens = tokens;
    }

    Expr expression() {
        tokens.enter();
        Expr value = or();
        while (tokens.takeName("if")) {
            Expr condition = or();
            Expr otherwise = tokens.takeName("else") ? expression() : null;
            value = new Expr.Choice(condition, value, otherwise);
        }
        tokens.leave();
        return value;
    }

    /** One expression, or several between commas, which make a list. */
    Expr expressionOrList() {
        Expr first = expression();
        return tokens.atOperator(",") ? list(first, "") : first;
    }

    /** What a loop runs over: no {@code if}, which would be the loop's filter. */
    Expr or() {
        Expr left = and();
        while (tokens.takeName("or")) {
            left = new Expr.Or(left, and());
        }
        return left;
    }

    private Expr and() {
        Expr left = not();
        while (tokens.takeName("and")) {
            left = new Expr.And(left, not());
        }
        return left;
    }

    private Expr not() {
        if (!tokens.takeName("not")) {
            return compare();
        }
        tokens.enter();
        Expr operand = not();
        tokens.leave();
        return new Expr.Not(operand);
    }

    private Expr compare() {
        Expr first = sum();
        List<Expr> operands = new ArrayList<>(List.of(first));
        List<String> operators = new ArrayList<>();
        while (true) {
            if (tokens.at(Kind.OPERATOR) && COMPARISONS.contains(tokens.peek().text())) {
                operators.add(tokens.next().text());
            } else if (tokens.takeName("in")) {
                operators.add("in");
            } else if (tokens.atName("not") && tokens.peekAfter().is(Kind.NAME, "in")) {
                tokens.next();
                tokens.next();
                operators.add("not in");
            } else {
                return operators.isEmpty() ? first : new Expr.Compare(operands, operators);
            }
            operands.add(sum());
        }
    }

    private Expr sum() {
        Expr left = concat();
        while (tokens.atOperator("+") || tokens.atOperator("-")) {
            left = new Expr.Arithmetic(tokens.next().text(), left, concat());
        }
        return left;
    }

    private Expr concat() {
        Expr first = product();
        if (!tokens.atOperator("~")) {
            return first;
        }
        List<Expr> parts = new ArrayList<>(List.of(first));
        while (tokens.takeOperator("~")) {
            parts.add(product());
        }
        return new Expr.Concat(parts);
    }

    private Expr product() {
        Expr left = power();
        while (tokens.atOperator("*")
                || tokens.atOperator("/")
                || tokens.atOperator("//")
                || tokens.atOperator("%")) {
            left = new Expr.Arithmetic(tokens.next().text(), left, power());
        }
        return left;
    }

    private Expr power() {
        Expr left = unary(true);
        while (tokens.takeOperator("**")) {
            left = new Expr.Arithmetic("**", left, unary(true));
        }
        return left;
    }

    /**
     * @param filters whether filters and tests that follow belong to it: not after a sign, {@code
     *     -1|abs} is 1
     */
    private Expr unary(boolean filters) {
        Expr value;
        if (tokens.atOperator("-") || tokens.atOperator("+")) {
            boolean negative = tokens.next().text().equals("-");
            tokens.enter();
            value = new Expr.Sign(negative, unary(false));
            tokens.leave();
        } else {
            value = primary();
        }
        value = postfix(value);
        return filters ? filters(value) : value;
    }

    private Expr primary() {
        Token token = tokens.next();
        return switch (token.kind()) {
            case NAME ->
                    switch (token.text()) {
                        case "true", "True" -> new Expr.Literal(true);
                        case "false", "False" -> new Expr.Literal(false);
                        case "none", "None" -> new Expr.Literal(null);
                        default -> new Expr.Name(token.text());
                    };
            case STRING -> {
                StringBuilder text = new StringBuilder(token.text());
                while (tokens.at(Kind.STRING)) {
                    text.append(tokens.next().text());
                }
                yield new Expr.Literal(text.toString());
            }
            case INTEGER -> new Expr.Literal(integer(token));
            case FLOAT -> new Expr.Literal(Double.valueOf(token.text()));
            case OPERATOR ->
                    switch (token.text()) {
                        case "(" -> parenthesis();
                        case "[" -> list(null, "]");
                        case "{" -> dictionary();
                        default -> throw notAnExpression(token);
                    };
            default -> throw notAnExpression(token);
        };
    }

    private static Long integer(Token token) {
        try {
            return Long.valueOf(token.text());
        } catch (NumberFormatException e) {
            throw TemplateException.at(token.line(), token.text() + " is too large a number");
        }
    }

    private static TemplateException notAnExpression(Token token) {
        return TemplateException.at(token.line(), "expected an expression, found " + token.shown());
    }

    private Expr parenthesis() {
        if (tokens.takeOperator(")")) {
            return new Expr.Items(List.of(), true);
        }
        Expr first = expression();
        if (tokens.takeOperator(")")) {
            return first;
        }
        return list(first, ")");
    }

    /** The rest of a list; {@code end} closes it, and where that is empty nothing does. */
    private Expr list(Expr first, String end) {
        List<Expr> items = new ArrayList<>();
        if (first != null) {
            items.add(first);
            if (!tokens.takeOperator(",")) {
                throw tokens.unexpected(end);
            }
        }
        while (!tokens.atOperator(end)
                && !tokens.at(Kind.BLOCK_END)
                && !tokens.at(Kind.PRINT_END)) {
            items.add(expression());
            if (!tokens.takeOperator(",")) {
                break;
            }
        }
        if (!end.isEmpty()) {
            tokens.expectOperator(end);
        }
        return new Expr.Items(items, !end.equals("]"));
    }

    private Expr dictionary() {
        List<Expr> keys = new ArrayList<>();
        List<Expr> values = new ArrayList<>();
        while (!tokens.atOperator("}")) {
            keys.add(expression());
            tokens.expectOperator(":");
            values.add(expression());
            if (!tokens.takeOperator(",")) {
                break;
            }
        }
        tokens.expectOperator("}");
        return new Expr.Entries(keys, values);
    }

    private Expr postfix(Expr target) {
        Expr value = target;
        while (true) {
            if (tokens.takeOperator(".")) {
                Token name = tokens.next();
                value =
                        switch (name.kind()) {
                            case NAME -> new Expr.Attribute(value, name.text());
                            case INTEGER ->
                                    new Expr.Subscript(value, new Expr.Literal(integer(name)));
                            default ->
                                    throw TemplateException.at(
                                            name.line(),
                                            "expected a name after ., found " + name.shown());
                        };
            } else if (tokens.takeOperator("[")) {
                value = subscript(value);
            } else if (tokens.atOperator("(")) {
                value = new Expr.Call(value, arguments());
            } else {
                return value;
            }
        }
    }

    private Expr subscript(Expr target) {
        Expr from = tokens.atOperator(":") ? null : expression();
        if (tokens.takeOperator("]")) {
            return new Expr.Subscript(target, from);
        }
        tokens.expectOperator(":");
        Expr to = tokens.atOperator(":") || tokens.atOperator("]") ? null : expression();
        Expr step = tokens.takeOperator(":") && !tokens.atOperator("]") ? expression() : null;
        tokens.expectOperator("]");
        return new Expr.Slice(target, from, to, step);
    }

    Expr filters(Expr target) {
        Expr value = target;
        while (true) {
            if (tokens.takeOperator("|")) {
                value = filter(value);
            } else if (tokens.takeName("is")) {
                value = test(value);
            } else if (tokens.atOperator("(")) {
                value = new Expr.Call(value, arguments());
            } else {
                return value;
            }
        }
    }

    Expr.Filter filter(Expr target) {
        String name = tokens.expect(Kind.NAME, "the name of a filter").text();
        return new Expr.Filter(target, name, tokens.atOperator("(") ? arguments() : Arguments.NONE);
    }

    private Expr test(Expr target) {
        boolean negated = tokens.takeName("not");
        String name = tokens.expect(Kind.NAME, "the name of a test").text();
        Arguments arguments = Arguments.NONE;
        if (tokens.atOperator("(")) {
            arguments = arguments();
        } else if (isArgument()) {
            arguments = new Arguments(List.of(postfix(primary())), Map.of());
        }
        Expr test = new Expr.Test(target, name, arguments);
        return negated ? new Expr.Not(test) : test;
    }

    private boolean isArgument() {
        return switch (tokens.peek().kind()) {
            case NAME -> !AFTER_TEST.contains(tokens.peek().text());
            case STRING, INTEGER, FLOAT -> true;
            case OPERATOR -> tokens.atOperator("[") || tokens.atOperator("{");
            default -> false;
        };
    }

    private Arguments arguments() {
        tokens.expectOperator("(");
        List<Expr> positional = new ArrayList<>();
        Map<String, Expr> named = new LinkedHashMap<>();
        while (!tokens.atOperator(")")) {
            if (tokens.at(Kind.NAME) && tokens.peekAfter().is(Kind.OPERATOR, "=")) {
                String name = tokens.next().text();
                tokens.next();
                named.put(name, expression());
            } else if (!named.isEmpty()) {
                throw tokens.unexpected("a named argument");
            } else {
                positional.add(expression());
            }
            if (!tokens.takeOperator(",")) {
                break;
            }
        }
        tokens.expectOperator(")");
        return new Arguments(positional, named);
    }
}
