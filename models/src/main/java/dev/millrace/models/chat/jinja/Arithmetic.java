package dev.millrace.models.chat.jinja;

import java.util.ArrayList;
import java.util.List;

/**
 * {@code + - * / // % **} as Python computes them; whole numbers that leave 64 bits are an error.
 */
final class Arithmetic {
    private Arithmetic() {}

    static Object apply(String operator, Object left, Object right) {
        if (Values.isNumber(left) && Values.isNumber(right)) {
            try {
                return Values.isWhole(left) && Values.isWhole(right) && !operator.equals("/")
                        ? whole(operator, Values.whole(left, ""), Values.whole(right, ""))
                        : fraction(operator, Values.number(left, ""), Values.number(right, ""));
            } catch (ArithmeticException e) {
                throw new TemplateException(
                        "the number " + left + " " + operator + " " + right + " has no value here");
            }
        }
        if (operator.equals("+")) {
            if (left instanceof String a && right instanceof String b) {
                Limits.checkLength((long) a.length() + b.length());
                return a + b;
            }
            if (left instanceof List<?> a && right instanceof List<?> b) {
                Limits.checkItems((long) a.size() + b.size());
                List<Object> joined = new ArrayList<>(a);
                joined.addAll(b);
                return joined;
            }
        }
        if (operator.equals("*") && Values.isWhole(right)) {
            return repeated(left, Math.max(0, Values.whole(right, "")));
        }
        if (operator.equals("*") && Values.isWhole(left)) {
            return repeated(right, Math.max(0, Values.whole(left, "")));
        }
        throw new TemplateException(
                "cannot compute " + Values.kind(left) + " " + operator + " " + Values.kind(right));
    }

    static Object negative(Object value) {
        return value instanceof Double number ? (Object) (-number) : apply("-", 0L, value);
    }

    private static Object whole(String operator, long a, long b) {
        return switch (operator) {
            case "+" -> Math.addExact(a, b);
            case "-" -> Math.subtractExact(a, b);
            case "*" -> Math.multiplyExact(a, b);
            case "//" -> Math.floorDiv(a, b);
            case "%" -> Math.floorMod(a, b);
            default -> {
                double power = Math.pow(a, b);
                if (b < 0) {
                    yield power;
                }
                if (Math.abs(power) >= 1L << 53) {
                    throw new ArithmeticException();
                }
                yield (long) power;
            }
        };
    }

    private static Object fraction(String operator, double a, double b) {
        if (b == 0 && (operator.equals("/") || operator.equals("//") || operator.equals("%"))) {
            throw new ArithmeticException();
        }
        return switch (operator) {
            case "+" -> a + b;
            case "-" -> a - b;
            case "*" -> a * b;
            case "/" -> a / b;
            case "//" -> Math.floor(a / b);
            case "%" -> a - b * Math.floor(a / b);
            default -> Math.pow(a, b);
        };
    }

    private static Object repeated(Object value, long count) {
        switch (value) {
            case String text -> {
                Limits.checkLength(
                        Math.multiplyHigh(text.length(), count) != 0
                                ? Long.MAX_VALUE
                                : text.length() * count);
                return text.repeat(text.isEmpty() ? 0 : (int) count);
            }
            case List<?> list -> {
                Limits.checkItems(
                        Math.multiplyHigh(list.size(), count) != 0
                                ? Long.MAX_VALUE
                                : list.size() * count);
                List<Object> result = new ArrayList<>();
                for (long i = 0; i < count && !list.isEmpty(); i++) {
                    result.addAll(list);
                }
                return result;
            }
            case null, default ->
                    throw new TemplateException("cannot repeat " + Values.kind(value));
        }
    }
}
