package dev.millrace.cpu;

import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.Value.Rows;
import dev.millrace.cpu.step.Buffer;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Gives every activation a buffer; activations that are never alive at the same time share one. */
final class BufferPlan {
    private static final class Slot {
        int width;
        Buffer buffer;
    }

    private final Map<Integer, Slot> slots = new HashMap<>();
    private final Map<Rows, List<Slot>> byRows = new EnumMap<>(Rows.class);

    /**
     * @param nodes in the order in which they run
     * @param wanted stays alive to the end
     */
    BufferPlan(List<Node> nodes, Value wanted) {
        Map<Rows, List<Slot>> free = new EnumMap<>(Rows.class);
        for (Rows rows : Rows.values()) {
            byRows.put(rows, new ArrayList<>());
            free.put(rows, new ArrayList<>());
        }
        Map<Integer, Integer> lastUse = new HashMap<>();
        for (int i = 0; i < nodes.size(); i++) {
            for (Value input : nodes.get(i).inputs()) {
                lastUse.put(input.id(), i);
            }
        }
        lastUse.put(wanted.id(), nodes.size());
        for (int i = 0; i < nodes.size(); i++) {
            Value output = nodes.get(i).output();
            slots.put(output.id(), take(free.get(output.rows()), byRows.get(output.rows()), output.width()));
            Set<Value> ended = new HashSet<>(nodes.get(i).inputs());
            ended.add(output); // one that nobody reads
            for (Value value : ended) {
                if (lastUse.getOrDefault(value.id(), i) == i) {
                    free.get(value.rows()).add(slots.get(value.id()));
                }
            }
        }
        byRows.values().forEach(all -> all.forEach(slot -> slot.buffer = new Buffer(slot.width)));
    }

    /** The free slot that fits best: the narrowest that is wide enough, else the widest, which is widened. */
    private static Slot take(List<Slot> free, List<Slot> all, int width) {
        Slot best = null;
        for (Slot slot : free) {
            boolean better = best == null
                    || (slot.width >= width ? best.width < width || slot.width < best.width : slot.width > best.width);
            if (better) {
                best = slot;
            }
        }
        if (best == null) {
            best = new Slot();
            all.add(best);
        } else {
            free.remove(best);
        }
        best.width = Math.max(best.width, width);
        return best;
    }

    Buffer of(Value value) {
        return slots.get(value.id()).buffer;
    }

    List<Buffer> all(Rows rows) {
        return byRows.get(rows).stream().map(slot -> slot.buffer).toList();
    }
}
