package dev.millrace.models.chat.jinja;

import dev.millrace.models.chat.jinja.Values.Function;
import dev.millrace.models.chat.jinja.Values.Undefined;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The value of an expression. */
final class Evaluator {
    Object value(Expr expression, Scope scope) {
        Limits.enter();
        Object value =
                switch (expression) {
                    case Expr.Literal literal -> literal.value();
                    case Expr.Name name -> scope.get(name.name());
                    case Expr.Items items ->
                            items.tuple()
                                    ? Tuple.of(values(items.items(), scope))
                                    : values(items.items(), scope);
                    case Expr.Entries entries -> entries(entries, scope);
                    case Expr.Attribute attribute ->
                            Members.attribute(value(attribute.target(), scope), attribute.name());
                    case Expr.Subscript subscript -> subscript(subscript, scope);
                    case Expr.Slice slice ->
                            Members.slice(
                                    value(slice.target(), scope),
                                    optional(slice.from(), scope),
                                    optional(slice.to(), scope),
                                    optional(slice.step(), scope));
                    case Expr.Call call -> call(call, scope);
                    case Expr.Filter filter -> filter(filter, value(filter.target(), scope), scope);
                    case Expr.Test test ->
                            Checks.holds(
                                    test.name(),
                                    value(test.target(), scope),
                                    arguments(test.name(), test.arguments(), scope));
                    case Expr.Not not -> !Values.isTrue(value(not.operand(), scope));
                    case Expr.And and -> {
                        Object left = value(and.left(), scope);
                        yield Values.isTrue(left) ? value(and.right(), scope) : left;
                    }
                    case Expr.Or or -> {
                        Object left = value(or.left(), scope);
                        yield Values.isTrue(left) ? left : value(or.right(), scope);
                    }
                    case Expr.Sign sign -> {
                        Object operand = value(sign.operand(), scope);
                        yield sign.negative() ? Arithmetic.negative(operand) : operand;
                    }
                    case Expr.Arithmetic sum ->
                            Arithmetic.apply(
                                    sum.operator(),
                                    value(sum.left(), scope),
                                    value(sum.right(), scope));
                    case Expr.Concat concat -> concat(concat, scope);
                    case Expr.Compare compare -> compare(compare, scope);
                    case Expr.Choice choice -> {
                        if (Values.isTrue(value(choice.condition(), scope))) {
                            yield value(choice.then(), scope);
                        }
                        yield choice.otherwise() == null
                                ? new Undefined("an if without else")
                                : value(choice.otherwise(), scope);
                    }
                };
        if (value instanceof String text) {
            Limits.spend(text.length() >>> 6);
        } else if (value instanceof List<?> list) {
            Limits.spend(list.size() >>> 3);
        }
        Limits.leave();
        return value;
    }

    Object filter(Expr.Filter filter, Object target, Scope scope) {
        return Filters.apply(
                filter.name(), target, arguments(filter.name(), filter.arguments(), scope));
    }

    private Object optional(Expr expression, Scope scope) {
        return expression == null ? null : value(expression, scope);
    }

    private List<Object> values(List<Expr> expressions, Scope scope) {
        List<Object> values = new ArrayList<>(expressions.size());
        for (Expr expression : expressions) {
            values.add(value(expression, scope));
        }
        return values;
    }

    private Map<Object, Object> entries(Expr.Entries entries, Scope scope) {
        Map<Object, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < entries.keys().size(); i++) {
            map.put(
                    Values.key(value(entries.keys().get(i), scope)),
                    value(entries.values().get(i), scope));
        }
        return map;
    }

    private Object subscript(Expr.Subscript subscript, Scope scope) {
        Object target = value(subscript.target(), scope);
        Object key = value(subscript.key(), scope);
        Object item = Members.item(target, key);
        // As in Jinja, an item wins over a method of the same name, which a subscript can reach
        // too.
        return item instanceof Undefined && key instanceof String name
                ? Members.attribute(target, name)
                : item;
    }

    private Object call(Expr.Call call, Scope scope) {
        Object target = value(call.target(), scope);
        if (!(target instanceof Function function)) {
            throw new TemplateException(
                    name(call.target()) + " cannot be called: it is " + Values.kind(target));
        }
        Arguments arguments = arguments("", call.arguments(), scope);
        return function.call(arguments.positional(), arguments.named());
    }

    private static String name(Expr expression) {
        return switch (expression) {
            case Expr.Name name -> name.name();
            case Expr.Attribute attribute -> attribute.name();
            default -> "this";
        };
    }

    private Arguments arguments(String callee, Expr.Arguments given, Scope scope) {
        Map<String, Object> named = new LinkedHashMap<>();
        given.named().forEach((name, value) -> named.put(name, value(value, scope)));
        return new Arguments(callee, values(given.positional(), scope), named);
    }

    private String concat(Expr.Concat concat, Scope scope) {
        StringBuilder text = new StringBuilder();
        for (Expr part : concat.parts()) {
            text.append(Values.show(value(part, scope)));
            Limits.checkLength(text.length());
        }
        return text.toString();
    }

    private boolean compare(Expr.Compare compare, Scope scope) {
        Object left = value(compare.operands().getFirst(), scope);
        for (int i = 0; i < compare.operators().size(); i++) {
            Object right = value(compare.operands().get(i + 1), scope);
            if (!compare(compare.operators().get(i), left, right)) {
                return false;
            }
            left = right;
        }
        return true;
    }

    private static boolean compare(String operator, Object left, Object right) {
        return switch (operator) {
            case "==" -> Values.equal(left, right);
            case "!=" -> !Values.equal(left, right);
            case "in" -> Values.contains(right, left);
            case "not in" -> !Values.contains(right, left);
            case "<" -> Values.compare(left, right) < 0;
            case "<=" -> Values.compare(left, right) <= 0;
            case ">" -> Values.compare(left, right) > 0;
            default -> Values.compare(left, right) >= 0;
        };
    }
}
