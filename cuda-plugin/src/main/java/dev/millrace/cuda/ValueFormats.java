package dev.millrace.cuda;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.tensor.Weights;
import java.util.ArrayList;
import java.util.List;

/**
 * Which activations are kept in 16 bits when there are many rows: those that only matrix units read, in the type they
 * multiply; attention multiplies in float16. Everything else, the residual stream above all, stays float32.
 */
final class ValueFormats {
    private final Format[] formats;
    private final boolean[] besideAttention;

    ValueFormats(Graph graph, Weights weights) {
        int values = graph.nodes().stream().mapToInt(n -> n.output().id()).max().orElse(-1) + 1;
        formats = new Format[values];
        besideAttention = new boolean[values];
        List<List<Node>> readers = new ArrayList<>();
        for (int i = 0; i < values; i++) {
            readers.add(new ArrayList<>());
        }
        for (Node node : graph.nodes()) {
            node.inputs().forEach(v -> readers.get(v.id()).add(node));
        }
        // attention passes its readers' type on to its inputs, so readers come first
        for (Node node : graph.nodes().reversed()) {
            Value value = node.output();
            formats[value.id()] = graph.outputs().containsValue(value)
                    ? Format.F32
                    : choose(node, readers.get(value.id()), weights);
        }
        for (Node node : graph.nodes()) {
            if (Graph.attention(node.op()) != null) {
                agree(node, readers);
            }
        }
    }

    Format of(Value value) {
        return formats[value.id()];
    }

    /** Whether attention reads or writes it. */
    boolean besideAttention(Value value) {
        return besideAttention[value.id()];
    }

    private Format choose(Node producer, List<Node> readers, Weights weights) {
        Format written = writes(producer, weights);
        if (written == Format.F32 || readers.isEmpty()) {
            return Format.F32;
        }
        for (Node reader : readers) {
            Format wanted = wants(reader, producer.output(), weights);
            if (wanted == null) {
                continue; // attention takes any
            }
            if (written == null) {
                written = wanted;
            }
            if (wanted != written) {
                return Format.F32;
            }
        }
        return written == null ? Format.F32 : written;
    }

    /** The 16-bit type a node can write: its own, null for any, F32 for none. */
    private static Format writes(Node node, Weights weights) {
        return switch (node.op()) {
            case Op.Linear l -> compute(l, weights);
            case Op.FusedLinear f -> {
                Format first = WeightLayout.format(weights.get(f.parts().getFirst().weight()));
                boolean one = f.parts().stream().allMatch(p -> WeightLayout.format(weights.get(p.weight())) == first);
                yield one ? first.compute() : Format.F32;
            }
            case Op.Norm n -> null;
            case Op.Attention a -> null;
            case Op.SelfAttention s -> null;
            case Op.Embed e -> Format.F32;
            case Op.EmbedSum s -> Format.F32;
            case Op.Rope r -> Format.F32;
            case Op.Activation a -> Format.F32;
            case Op.Gate g -> Format.F32;
            case Op.Add a -> Format.F32;
            case Op.Permute p -> Format.F32;
            case Op.Select s -> Format.F32;
            case Op.Pool p -> Format.F32;
        };
    }

    /** The 16-bit type a node reads {@code value} in: null for any, F32 for none. */
    private static Format wants(Node node, Value value, Weights weights) {
        return switch (node.op()) {
            case Op.Linear l -> compute(l, weights);
            case Op.FusedLinear f -> {
                boolean operand = node.inputs().getFirst().equals(value);
                boolean other = f.residual() && node.inputs().get(1).equals(value);
                Format first = compute(f.parts().getFirst(), weights);
                boolean one = f.parts().stream().allMatch(p -> compute(p, weights) == first);
                yield operand && !other && f.norm().isEmpty() && one ? first : Format.F32;
            }
            case Op.Attention a -> null;
            case Op.SelfAttention s -> null;
            default -> Format.F32;
        };
    }

    private static Format compute(Op.Linear linear, Weights weights) {
        return WeightLayout.format(weights.get(linear.weight())).compute();
    }

    /** q, k and v have one type: that which attention multiplies in, where they are not F32 and nobody else reads them. */
    private void agree(Node node, List<List<Node>> readers) {
        Format first = of(node.inputs().getFirst());
        boolean one = node.inputs().stream().allMatch(v -> of(v) == first);
        boolean alone = node.inputs().stream()
                .flatMap(v -> readers.get(v.id()).stream())
                .allMatch(n -> Graph.attention(n.op()) != null);
        for (Value input : node.inputs()) {
            besideAttention[input.id()] = true;
            if (!one) {
                formats[input.id()] = Format.F32;
            } else if (first != Format.F32 && alone) {
                formats[input.id()] = Format.F16; // else it would be converted there
            }
        }
        besideAttention[node.output().id()] = true;
    }
}
