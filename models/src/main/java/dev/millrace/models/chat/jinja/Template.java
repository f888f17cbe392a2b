package dev.millrace.models.chat.jinja;

import dev.millrace.models.chat.jinja.Values.Function;
import dev.millrace.models.chat.jinja.Values.Namespace;
import java.time.Clock;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The part of the Jinja template language that chat templates use (Jinja documentation, "Template
 * Designer Documentation"), with the environment they are written for: {@code trim_blocks}, {@code
 * lstrip_blocks}, loop controls, {@code generation} blocks, {@code raise_exception}, {@code
 * strftime_now}, and a {@code tojson} that leaves text as it is.
 *
 * <p>A template is data from elsewhere: it reaches nothing but the values it is given, and work,
 * depth and the size of its texts are bounded. A parsed template may be rendered by several
 * threads.
 */
public final class Template {
    private final List<Stmt> body;

    private Template(List<Stmt> body) {
        this.body = body;
    }

    /**
     * @throws TemplateException naming the line, for what cannot be read or is not supported
     */
    public static Template parse(String source) {
        return new Template(Parser.parse(source));
    }

    /**
     * The text of the template.
     *
     * @param variables {@code null}, booleans, numbers, texts, and Lists and Maps of these
     * @param clock what {@code strftime_now} reads
     * @throws TemplateException naming the line
     */
    public String render(Map<String, ?> variables, Clock clock) {
        Scope globals = new Scope(null);
        Globals.of(clock).forEach(globals::set);
        variables.forEach((name, value) -> globals.set(name, Values.of(value)));
        return Limits.within(() -> {
            StringBuilder out = new StringBuilder();
            new Run().statements(body, new Scope(globals), out);
            return out.toString();
        });
    }

    private enum Flow {
        NEXT,
        BREAK,
        CONTINUE
    }

    /** One rendering. */
    private static final class Run {
        private final Evaluator evaluator = new Evaluator();

        Flow statements(List<Stmt> statements, Scope scope, StringBuilder out) {
            for (Stmt statement : statements) {
                Limits.enter();
                try {
                    Flow flow = statement(statement, scope, out);
                    Limits.checkLength(out.length());
                    if (flow != Flow.NEXT) {
                        Limits.leave();
                        return flow;
                    }
                } catch (TemplateException e) {
                    throw e.in(statement.line());
                }
                Limits.leave();
            }
            return Flow.NEXT;
        }

        private Flow statement(Stmt statement, Scope scope, StringBuilder out) {
            switch (statement) {
                case Stmt.Text text -> out.append(text.text());
                case Stmt.Print print ->
                        out.append(Values.show(evaluator.value(print.value(), scope)));
                case Stmt.If choice -> {
                    return choose(choice, scope, out);
                }
                case Stmt.For loop -> loop(loop, scope, out);
                case Stmt.Set set ->
                        unpack(set.targets(), evaluator.value(set.value(), scope), scope);
                case Stmt.SetAttribute set -> {
                    Object value = evaluator.value(set.value(), scope);
                    if (!(scope.get(set.space()) instanceof Namespace space)) {
                        throw new TemplateException(set.space() + " is no namespace");
                    }
                    space.values().put(set.name(), value);
                }
                case Stmt.SetBlock set -> {
                    StringBuilder text = new StringBuilder();
                    statements(set.body(), new Scope(scope), text);
                    Object value = text.toString();
                    for (Expr.Filter filter : set.filters()) {
                        value = evaluator.filter(filter, value, scope);
                    }
                    scope.set(set.target(), value);
                }
                case Stmt.Macro macro ->
                        scope.set(macro.name(), (Function) (a, n) -> call(macro, scope, a, n));
                case Stmt.Group group -> {
                    return statements(group.body(), scope, out);
                }
                case Stmt.Break _ -> {
                    return Flow.BREAK;
                }
                case Stmt.Continue _ -> {
                    return Flow.CONTINUE;
                }
            }
            return Flow.NEXT;
        }

        private Flow choose(Stmt.If choice, Scope scope, StringBuilder out) {
            int i = 0;
            while (i < choice.conditions().size()
                    && !Values.isTrue(evaluator.value(choice.conditions().get(i), scope))) {
                i++;
            }
            return i < choice.bodies().size()
                    ? statements(choice.bodies().get(i), scope, out)
                    : Flow.NEXT;
        }

        private void loop(Stmt.For loop, Scope scope, StringBuilder out) {
            List<Object> items = new ArrayList<>();
            for (Object item : Values.items(evaluator.value(loop.items(), scope), "for")) {
                Limits.spend(10);
                if (loop.filter() != null) {
                    Scope inner = new Scope(scope);
                    unpack(loop.targets(), item, inner);
                    if (!Values.isTrue(evaluator.value(loop.filter(), inner))) {
                        continue;
                    }
                }
                items.add(item);
            }
            if (items.isEmpty()) {
                statements(loop.otherwise(), new Scope(scope), out);
            }
            Object[] changed = {new Object()};
            for (int i = 0; i < items.size(); i++) {
                Scope inner = new Scope(scope);
                unpack(loop.targets(), items.get(i), inner);
                inner.set("loop", position(items, i, changed));
                if (statements(loop.body(), inner, out) == Flow.BREAK) {
                    return;
                }
            }
        }

        private static Map<String, Object> position(List<Object> items, int i, Object[] changed) {
            Map<String, Object> loop = new LinkedHashMap<>();
            loop.put("index", i + 1L);
            loop.put("index0", (long) i);
            loop.put("revindex", (long) items.size() - i);
            loop.put("revindex0", items.size() - i - 1L);
            loop.put("first", i == 0);
            loop.put("last", i == items.size() - 1);
            loop.put("length", (long) items.size());
            loop.put("depth", 1L);
            loop.put("previtem", i == 0 ? new Values.Undefined("loop.previtem") : items.get(i - 1));
            loop.put(
                    "nextitem",
                    i == items.size() - 1
                            ? new Values.Undefined("loop.nextitem")
                            : items.get(i + 1));
            loop.put("cycle", (Function) (a, n) -> a.isEmpty() ? "" : a.get(i % a.size()));
            loop.put(
                    "changed",
                    (Function)
                            (a, n) -> {
                                boolean differs = !Values.equal(changed[0], a);
                                changed[0] = a;
                                return differs;
                            });
            return loop;
        }

        private Object call(
                Stmt.Macro macro, Scope scope, List<Object> arguments, Map<String, Object> named) {
            Limits.enter();
            if (arguments.size() > macro.parameters().size()) {
                throw new TemplateException(
                        "macro "
                                + macro.name()
                                + " takes "
                                + macro.parameters().size()
                                + " arguments, not "
                                + arguments.size());
            }
            Scope inner = new Scope(scope);
            for (int i = 0; i < macro.parameters().size(); i++) {
                String parameter = macro.parameters().get(i);
                Expr otherwise = macro.defaults().get(i);
                if (i < arguments.size()) {
                    inner.set(parameter, arguments.get(i));
                } else if (named.containsKey(parameter)) {
                    inner.set(parameter, named.get(parameter));
                } else {
                    inner.set(
                            parameter,
                            otherwise == null
                                    ? new Values.Undefined(parameter)
                                    : evaluator.value(otherwise, inner));
                }
            }
            StringBuilder text = new StringBuilder();
            statements(macro.body(), inner, text);
            Limits.leave();
            return text.toString();
        }

        private static void unpack(List<String> targets, Object value, Scope scope) {
            if (targets.size() == 1) {
                scope.set(targets.getFirst(), value);
                return;
            }
            List<?> items = value instanceof List<?> list ? list : Values.items(value, "unpacking");
            if (items.size() != targets.size()) {
                throw new TemplateException(
                        items.size() + " values for " + targets.size() + " names");
            }
            for (int i = 0; i < targets.size(); i++) {
                scope.set(targets.get(i), items.get(i));
            }
        }
    }
}
