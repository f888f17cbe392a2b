package dev.millrace.core.graph;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.Value.Rows;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weights;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Builds a {@link Graph} node by node and checks every shape on the way, with the node's path, what was expected and
 * what was found.
 */
public final class GraphBuilder {
    private final String name;
    private final Weights weights;
    private final List<Node> nodes = new ArrayList<>();
    private final Map<String, Value> outputs = new LinkedHashMap<>();
    private final Set<String> paths = new HashSet<>();
    private int values;

    public GraphBuilder(String name, Weights weights) {
        this.name = name;
        this.weights = weights;
    }

    /**
     * Appends a node.
     *
     * @return its output
     * @throws MillraceException when the path is taken, an input or a weight has the wrong shape
     */
    public Value add(String path, Op op, Value... inputs) {
        return add(path, op, List.of(path), inputs);
    }

    /** Appends a node that stands for the unfused nodes {@code covers}. */
    public Value add(String path, Op op, List<String> covers, Value... inputs) {
        if (!paths.add(path)) {
            throw new MillraceException(name + ": two nodes are named " + path);
        }
        Check check = new Check(path, inputs);
        Value output = new Value(values++, check.width(op), check.rows(op));
        nodes.add(new Node(path, op, List.of(inputs), output, covers));
        return output;
    }

    /** Gives {@code value} out under {@code output}. */
    public void output(String output, Value value) {
        outputs.put(output, value);
    }

    public Graph build() {
        return new Graph(name, nodes, outputs);
    }

    private final class Check {
        private final String path;
        private final Value[] inputs;

        Check(String path, Value[] inputs) {
            this.path = path;
            this.inputs = inputs;
        }

        int width(Op op) {
            return switch (op) {
                case Op.Embed e -> {
                    arity(0);
                    yield columns(e.table());
                }
                case Op.EmbedSum sum -> {
                    arity(0);
                    int width = columns(sum.parts().getFirst().table());
                    sum.parts().forEach(p -> expect("embedding " + p.table(), width, columns(p.table())));
                    yield width;
                }
                case Op.Norm n -> {
                    arity(1);
                    norm(n, inputs[0].width());
                    yield inputs[0].width();
                }
                case Op.Linear l -> {
                    arity(1);
                    yield linear(l, inputs[0].width());
                }
                case Op.FusedLinear f -> fusedLinear(f);
                case Op.Rope r -> {
                    arity(1);
                    rope(r, inputs[0].width());
                    yield inputs[0].width();
                }
                case Op.Attention a -> {
                    arity(3);
                    heads(a);
                    expect("q", a.heads() * a.headDim(), inputs[0].width());
                    expect("k", a.kvHeads() * a.headDim(), inputs[1].width());
                    expect("v", a.kvHeads() * a.headDim(), inputs[2].width());
                    yield inputs[0].width();
                }
                case Op.SelfAttention s -> {
                    arity(1);
                    Op.Attention a = s.attention();
                    heads(a);
                    expect("qkv", (a.heads() + 2 * a.kvHeads()) * a.headDim(), inputs[0].width());
                    s.qNorm().ifPresent(n -> norm(n, a.headDim()));
                    s.kNorm().ifPresent(n -> norm(n, a.headDim()));
                    s.rope().ifPresent(r -> rope(r, a.headDim()));
                    yield a.heads() * a.headDim();
                }
                case Op.Activation act -> {
                    arity(1);
                    yield inputs[0].width();
                }
                case Op.Gate g -> same();
                case Op.Add add -> same();
                case Op.Permute p -> {
                    arity(1);
                    expect("order " + p.order(), inputs[0].width(), columns(p.order()));
                    yield inputs[0].width();
                }
                case Op.Select s -> {
                    arity(1);
                    yield inputs[0].width();
                }
                case Op.Pool p -> {
                    arity(1);
                    yield inputs[0].width();
                }
            };
        }

        Rows rows(Op op) {
            return switch (op) {
                case Op.Select s -> Rows.SELECTED;
                case Op.Pool p -> Rows.SEQUENCES;
                default -> {
                    Rows rows = inputs.length == 0 ? Rows.TOKENS : inputs[0].rows();
                    for (Value input : inputs) {
                        if (input.rows() != rows) {
                            throw wrong("inputs with rows for " + rows, input.rows());
                        }
                    }
                    yield rows;
                }
            };
        }

        private int fusedLinear(Op.FusedLinear f) {
            arity(f.residual() ? 2 : 1);
            f.norm().ifPresent(n -> norm(n, inputs[0].width()));
            int width = 0;
            for (Op.Linear part : f.parts()) {
                int rows = linear(part, inputs[0].width());
                if (f.gated() && width > 0) {
                    expect("up", width, rows);
                } else {
                    width = Math.addExact(width, rows);
                }
            }
            if (f.residual()) {
                expect("residual", width, inputs[1].width());
            }
            return width;
        }

        private void arity(int count) {
            if (inputs.length != count) {
                throw wrong(count + " inputs", inputs.length);
            }
        }

        private int same() {
            arity(2);
            expect("second input", inputs[0].width(), inputs[1].width());
            return inputs[0].width();
        }

        private int linear(Op.Linear l, int width) {
            Shape shape = weights.get(l.weight()).shape();
            expect(l.weight() + " " + shape + " inputs", width, shape.columns());
            l.bias().ifPresent(b -> vector(b, shape.rows()));
            return Math.toIntExact(shape.rows());
        }

        private void norm(Op.Norm n, int width) {
            int group = columns(n.weight());
            if (group > width || width % group != 0) {
                throw wrong(n.weight() + " of a length that divides " + width, group);
            }
            n.bias().ifPresent(b -> vector(b, group));
        }

        private void rope(Op.Rope r, int width) {
            if (r.headDim() < 1 || width % r.headDim() != 0) {
                throw wrong("a width that is a multiple of the head's " + r.headDim(), width);
            }
            if (r.rotaryDim() < 2 || r.rotaryDim() % 2 != 0 || r.rotaryDim() > r.headDim()) {
                throw wrong("an even rotary dimension up to " + r.headDim(), r.rotaryDim());
            }
        }

        private void heads(Op.Attention a) {
            if (a.heads() < 1 || a.kvHeads() < 1 || a.headDim() < 1 || a.heads() % a.kvHeads() != 0) {
                throw wrong(
                        "heads that are a multiple of kvHeads",
                        a.heads() + " heads, " + a.kvHeads() + " kvHeads, headDim " + a.headDim());
            }
        }

        private void vector(String weight, long length) {
            Shape shape = weights.get(weight).shape();
            expect(weight + " rows", 1, shape.rows());
            expect(weight, length, shape.columns());
        }

        private int columns(String weight) {
            return Math.toIntExact(weights.get(weight).shape().columns());
        }

        private void expect(String what, long expected, long found) {
            if (expected != found) {
                throw wrong(what + " " + expected, found);
            }
        }

        private MillraceException wrong(String expected, Object found) {
            return new MillraceException(name + ": " + path + ": expected " + expected + ", found " + found);
        }
    }
}
