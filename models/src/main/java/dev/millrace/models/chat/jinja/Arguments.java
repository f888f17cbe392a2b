package dev.millrace.models.chat.jinja;

import java.util.List;
import java.util.Map;

/** The values given to a filter, a test, a method or a function. */
record Arguments(String callee, List<Object> positional, Map<String, Object> named) {
    /** The argument at a place or under a name, or {@code otherwise}. */
    Object get(int index, String name, Object otherwise) {
        if (index < positional.size()) {
            return positional.get(index);
        }
        return named.getOrDefault(name, otherwise);
    }

    Object required(int index, String name) {
        if (index >= positional.size() && !named.containsKey(name)) {
            throw new TemplateException(callee + " needs its argument " + name);
        }
        return get(index, name, null);
    }

    String text(int index, String name) {
        return Values.text(required(index, name), callee + "'s " + name);
    }

    /** A text, or null where it is not given or none. */
    String textOrNull(int index, String name) {
        Object value = get(index, name, null);
        return value == null ? null : Values.text(value, callee + "'s " + name);
    }

    long whole(int index, String name, long otherwise) {
        Object value = get(index, name, otherwise);
        return Values.whole(value, callee + "'s " + name);
    }

    boolean flag(int index, String name) {
        return Values.isTrue(get(index, name, false));
    }
}
