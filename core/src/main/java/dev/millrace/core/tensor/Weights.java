package dev.millrace.core.tensor;

import dev.millrace.core.MillraceException;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.BiFunction;

/** The weights a graph refers to, by the graph's own names (node path plus {@code .weight} or {@code .bias}). */
public final class Weights {
    private final Map<String, Weight> byName;

    public Weights(Map<String, Weight> byName) {
        this.byName = new LinkedHashMap<>(byName);
    }

    /**
     * The weight of that name.
     *
     * @throws MillraceException when there is none
     */
    public Weight get(String name) {
        Weight weight = byName.get(name);
        if (weight == null) {
            throw new MillraceException("no weight named " + name + " among the model's " + byName.size());
        }
        return weight;
    }

    public boolean has(String name) {
        return byName.containsKey(name);
    }

    public Collection<String> names() {
        return java.util.Collections.unmodifiableSet(byName.keySet());
    }

    /** The same names with other views; used to quantize or convert on load. */
    public Weights map(BiFunction<String, Weight, Weight> change) {
        Map<String, Weight> changed = new LinkedHashMap<>();
        byName.forEach((name, weight) -> changed.put(name, change.apply(name, weight)));
        return new Weights(changed);
    }

    /** Bytes of all weights in their formats. */
    public long bytes() {
        return byName.values().stream().mapToLong(Weight::bytes).sum();
    }
}
