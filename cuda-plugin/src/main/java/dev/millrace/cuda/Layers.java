package dev.millrace.cuda;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.graph.Value;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/** Finds, among the steps of a single row, whole layers that two launches can do. */
final class Layers {
    private final List<Step> steps;

    /** The steps that launch something, in their order; where one row is all rows, selections do not. */
    private final List<Step> launching;

    private final Map<Value, Value> sources = new HashMap<>();
    private final Value output;
    private final LayerRules rules;
    private final KvFormat kv;
    private final int reach;

    private Layers(List<Step> steps, Value output, LayerRules rules, KvFormat kv, int reach) {
        this.steps = steps;
        for (Step step : steps) {
            if (passes(step)) {
                sources.put(step.node().output(), step.node().inputs().getFirst());
            }
        }
        this.launching = steps.stream().filter(step -> !passes(step)).toList();
        this.output = source(output);
        this.rules = rules;
        this.kv = kv;
        this.reach = reach;
    }

    /** The same work with {@link LayerSteps} wherever that can be, for one row, caches of {@code kv} and contexts up to {@code reach}. */
    static List<Step> fuse(List<Step> steps, Value output, LayerRules rules, KvFormat kv, int reach) {
        return new Layers(steps, output, rules, kv, reach).run();
    }

    private static boolean passes(Step step) {
        return step instanceof RowSteps.Selection || step instanceof RowSteps.TakenIn;
    }

    private Value source(Value value) {
        Value source = sources.get(value);
        return source == null ? value : source(source);
    }

    private record Layer(LinearStep qkv, AttentionStep attention, LinearStep o, LinearStep up, LinearStep down) {}

    private List<Step> run() {
        Map<Step, Step> replaced = new IdentityHashMap<>(); // null: done by one before
        LayerSteps.Mlp before = null;
        for (int i = 0; i < launching.size(); ) {
            Layer layer = at(i);
            LayerSteps.Mlp mlp = layer == null ? null : replace(layer, before, i, replaced);
            before = mlp != null && !mlp.ends() ? mlp : null;
            i += mlp == null ? 1 : 5;
        }
        List<Step> fused = new ArrayList<>();
        for (Step step : steps) {
            Step by = replaced.getOrDefault(step, step);
            if (by != null) {
                fused.add(by);
            }
        }
        return List.copyOf(fused);
    }

    /** Puts a layer's steps into {@code replaced}; null where its launches are not possible. */
    private LayerSteps.Mlp replace(Layer l, LayerSteps.Mlp before, int at, Map<Step, Step> replaced) {
        LayerRules.Attention attend = rules.attention(matrix(l.qkv), matrix(l.o), l.attention.op(), kv, reach);
        LayerRules.Mlp mlp = rules.mlp(matrix(l.up), matrix(l.down), l.up.gated());
        if (attend == null || mlp == null) {
            return null;
        }
        LayerSteps.Attention first =
                new LayerSteps.Attention(l.qkv, l.attention, l.o, source(l.qkv.x()), before, attend, kv, done(l.qkv, l.o));
        LayerSteps.Mlp second = new LayerSteps.Mlp(l.up, l.down, first, !goesOn(l, at + 5), mlp, done(l.up, l.down));
        put(first, l.qkv, l.o, replaced);
        put(second, l.up, l.down, replaced);
        return second;
    }

    /** The steps from {@code first} to {@code last}, in the graph's order. */
    private List<Step> between(Step first, Step last) {
        return steps.subList(steps.indexOf(first), steps.indexOf(last) + 1);
    }

    /** The nodes after the first. */
    private List<Emission.Done> done(Step first, Step last) {
        return between(first, last).stream()
                .skip(1)
                .map(step -> new Emission.Done(step.node(), !passes(step)))
                .toList();
    }

    private void put(Step by, Step first, Step last, Map<Step, Step> replaced) {
        between(first, last).forEach(step -> replaced.put(step, null));
        replaced.put(first, by);
    }

    /** Whether a layer's output is only summed up by the launches of the next layer. */
    private boolean goesOn(Layer layer, int next) {
        Layer after = at(next);
        Value value = layer.down.node().output();
        return after != null
                && source(after.qkv.x()).equals(value)
                && rules.attention(matrix(after.qkv), matrix(after.o), after.attention.op(), kv, reach) != null
                && rules.mlp(matrix(after.up), matrix(after.down), after.up.gated()) != null
                && onlyRead(value, after.qkv, after.o);
    }

    private static Matrix matrix(LinearStep linear) {
        return linear.parts().getFirst().matrix();
    }

    /** The layer that starts there; null for none. */
    private Layer at(int i) {
        boolean kinds = i + 5 <= launching.size()
                && launching.get(i) instanceof LinearStep
                && launching.get(i + 1) instanceof AttentionStep
                && launching.get(i + 2) instanceof LinearStep
                && launching.get(i + 3) instanceof LinearStep
                && launching.get(i + 4) instanceof LinearStep;
        if (!kinds) {
            return null;
        }
        Layer l = new Layer(
                (LinearStep) launching.get(i),
                (AttentionStep) launching.get(i + 1),
                (LinearStep) launching.get(i + 2),
                (LinearStep) launching.get(i + 3),
                (LinearStep) launching.get(i + 4));
        Value stream = source(l.qkv.x());
        Value middle = l.o.node().output();
        boolean is = normalizes(l.qkv)
                && !l.qkv.gated()
                && l.qkv.act() < 0
                && l.attention.node().inputs().equals(List.of(l.qkv.node().output()))
                && adds(l.o, l.attention.node().output(), stream)
                && normalizes(l.up)
                && source(l.up.x()).equals(middle)
                && adds(l.down, l.up.node().output(), middle)
                && onlyRead(l.qkv.node().output(), l.attention)
                && onlyRead(l.attention.node().output(), l.o)
                && onlyRead(middle, l.up, l.down)
                && onlyRead(l.up.node().output(), l.down);
        return is ? l : null;
    }

    private static boolean normalizes(LinearStep linear) {
        return linear.parts().size() == 1
                && linear.residual() == null
                && linear.norm() != null
                && linear.norm().group() == linear.x().width();
    }

    private boolean adds(LinearStep linear, Value x, Value residual) {
        return linear.parts().size() == 1
                && linear.norm() == null
                && linear.act() < 0
                && source(linear.x()).equals(x)
                && linear.residual() != null
                && source(linear.residual()).equals(residual);
    }

    private boolean onlyRead(Value value, Step... readers) {
        Set<Step> all = launching.stream()
                .filter(s -> s.node().inputs().stream().anyMatch(v -> source(v).equals(value)))
                .collect(Collectors.toSet());
        return !value.equals(output) && all.equals(Set.of(readers));
    }
}
