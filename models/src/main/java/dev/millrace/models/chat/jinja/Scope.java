package dev.millrace.models.chat.jinja;

import dev.millrace.models.chat.jinja.Values.Undefined;
import java.util.HashMap;
import java.util.Map;

/** Variables: a loop and a macro have their own, and see those round them. */
final class Scope {
    private final Scope parent;
    private final Map<String, Object> values = new HashMap<>();

    Scope(Scope parent) {
        this.parent = parent;
    }

    Object get(String name) {
        for (Scope scope = this; scope != null; scope = scope.parent) {
            if (scope.values.containsKey(name)) {
                return scope.values.get(name);
            }
        }
        return new Undefined(name);
    }

    void set(String name, Object value) {
        values.put(name, value);
    }
}
