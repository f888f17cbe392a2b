package dev.millrace.models.arch;

import dev.millrace.core.MillraceException;
import dev.millrace.models.checkpoint.GgufMetadata;
import dev.millrace.models.checkpoint.GgufValue;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import tools.jackson.databind.node.ObjectNode;

/** The keys of one architecture in GGUF metadata, read strictly: one that nobody asked for is refused, unless it is off. */
final class Keys {
    private final String file;
    private final GgufMetadata metadata;
    private final String prefix;
    private final Set<String> seen = new HashSet<>();
    private final Map<String, String> own = new HashMap<>();

    Keys(String file, GgufMetadata metadata, String prefix) {
        this.file = file;
        this.metadata = metadata;
        this.prefix = prefix;
    }

    /** What the file calls the keys that were copied. */
    Map<String, String> own() {
        return own;
    }

    void ignore(String... keys) {
        for (String key : keys) {
            seen.add(prefix + key);
        }
    }

    int integer(String key, int otherwise) {
        ignore(key);
        return metadata.findInteger(prefix + key).orElse(otherwise);
    }

    String text(String key, String otherwise) {
        ignore(key);
        return metadata.findString(prefix + key).orElse(otherwise);
    }

    /** Copies a whole number, or a list with one for every layer that are all the same. */
    void copy(String key, ObjectNode to, String name) {
        ignore(key);
        own.put(name, "metadata key " + prefix + key);
        GgufValue value = metadata.values().get(prefix + key);
        if (value == null) {
            return;
        }
        if (!value.array()) {
            to.put(name, metadata.integer(prefix + key));
            return;
        }
        int[] all = metadata.findIntegers(prefix + key).orElseThrow();
        for (int one : all) {
            if (one != all[0]) {
                throw wrong(key, "the same number for every layer");
            }
        }
        if (all.length > 0) {
            to.put(name, all[0]);
        }
    }

    void number(String key, ObjectNode to, String name) {
        ignore(key);
        own.put(name, "metadata key " + prefix + key);
        // the shortest decimal, so that 1e-5 stays what its writer meant
        metadata.findNumber(prefix + key).ifPresent(x -> to.put(name, Double.parseDouble(Float.toString(x))));
    }

    MillraceException wrong(String key, String expected) {
        return new MillraceException(file + ": metadata key " + prefix + key + " is "
                + metadata.values().get(prefix + key) + ", expected " + expected);
    }

    /** Refuses the architecture's keys that were not asked for. */
    void finish() {
        List<String> unknown = metadata.values().entrySet().stream()
                .filter(e -> e.getKey().startsWith(prefix) && !seen.contains(e.getKey()) && !off(e.getValue()))
                .map(e -> e.getKey() + " = " + e.getValue())
                .toList();
        if (!unknown.isEmpty()) {
            throw new MillraceException(file + ": not known to the " + prefix.substring(0, prefix.length() - 1)
                    + " reader, and may change what the model computes: " + String.join(", ", unknown));
        }
    }

    private static boolean off(GgufValue value) {
        return switch (value.value()) {
            case Number n -> n.doubleValue() == 0;
            case Boolean b -> !b;
            case String s -> s.isEmpty();
            default -> value.length() == 0;
        };
    }
}
