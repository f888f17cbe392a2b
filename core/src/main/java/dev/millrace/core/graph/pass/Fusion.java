package dev.millrace.core.graph.pass;

import dev.millrace.core.executor.Support;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.pass.Rewrite.Piece;
import dev.millrace.core.tensor.Weights;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Predicate;

/**
 * Rewrites a graph into fewer, larger ops, of those that an executor supports. The result computes the same; every new
 * node names the nodes it covers.
 *
 * <ul>
 *   <li>sums of embeddings become {@link Op.EmbedSum}
 *   <li>q, k and v become one linear, their norms and rotations part of {@link Op.SelfAttention}
 *   <li>gate, up and activation become one gated linear; an activation joins the linear before it
 *   <li>a residual addition joins the linear before it, a norm the linear after it
 *   <li>rows that nobody asked for are left out as early as every node treats rows alone: after the last attention
 * </ul>
 */
public final class Fusion {
    private final Weights weights;
    private final Predicate<Op> supported;

    private Fusion(Weights weights, Function<Op, Support> supports) {
        this.weights = weights;
        this.supported = op -> supports.apply(op).yes();
    }

    /** The fused graph for an executor, given what it {@code supports}. */
    public static Graph apply(Graph graph, Weights weights, Function<Op, Support> supports) {
        Fusion fusion = new Fusion(weights, supports);
        Graph fused = fusion.pass(graph, fusion::embeddings);
        fused = fusion.pass(fused, fusion::selfAttention);
        fused = fusion.pass(fused, fusion::activation);
        fused = fusion.pass(fused, fusion::residual);
        return EarlySelect.apply(fusion.pass(fused, fusion::norm), weights);
    }

    /** What a rule finds when it starts from one node; null where it does not apply. */
    private interface Rule {
        Rewrite.Match match(Uses uses, Node node);
    }

    private Graph pass(Graph graph, Rule rule) {
        Uses uses = new Uses(graph);
        List<Rewrite.Match> matches = new ArrayList<>();
        for (Node node : graph.nodes()) {
            Rewrite.Match match = rule.match(uses, node);
            if (match != null && match.pieces().stream().allMatch(p -> supported.test(p.op()))) {
                matches.add(match);
            }
        }
        return matches.isEmpty() ? graph : Rewrite.apply(graph, weights, matches);
    }

    /** Add of two embeddings, or of a sum of embeddings and another. */
    private Rewrite.Match embeddings(Uses uses, Node add) {
        List<Node> tables = new ArrayList<>();
        List<Node> adds = new ArrayList<>();
        if (!(add.op() instanceof Op.Add) || uses.consumedByAdd(add) || !collect(uses, add, tables, adds)) {
            return null;
        }
        List<Op.Embed> parts = tables.stream().map(n -> (Op.Embed) n.op()).toList();
        List<Node> consumed = new ArrayList<>(tables);
        consumed.addAll(adds);
        String path = tables.getFirst().path();
        return Rewrite.match(add, consumed, new Piece(path, new Op.EmbedSum(parts), List.of(), Rewrite.covers(consumed)));
    }

    private boolean collect(Uses uses, Node node, List<Node> tables, List<Node> adds) {
        adds.add(node);
        for (Value input : node.inputs()) {
            Node source = uses.producer(input);
            if (!uses.once(source)) {
                return false;
            }
            if (source.op() instanceof Op.Embed) {
                tables.add(source);
            } else if (!(source.op() instanceof Op.Add) || !collect(uses, source, tables, adds)) {
                return false;
            }
        }
        return true;
    }

    private Rewrite.Match selfAttention(Uses uses, Node node) {
        if (!(node.op() instanceof Op.Attention attention)) {
            return null;
        }
        Branch q = Branch.of(uses, node.inputs().get(0));
        Branch k = Branch.of(uses, node.inputs().get(1));
        Branch v = Branch.of(uses, node.inputs().get(2));
        if (q == null || k == null || v == null || v.norm != null || v.rope != null) {
            return null;
        }
        Value x = q.linear.inputs().getFirst();
        boolean sameInput = x.equals(k.linear.inputs().getFirst()) && x.equals(v.linear.inputs().getFirst());
        if (!sameInput || !op(q.rope).equals(op(k.rope)) || !perHead(q, attention) || !perHead(k, attention)) {
            return null;
        }
        List<Op.Linear> parts = List.of(q.op(), k.op(), v.op());
        Op linear = new Op.FusedLinear(Optional.empty(), parts, Optional.empty(), false, false);
        Op fused = new Op.SelfAttention(
                attention,
                op(q.norm).map(Op.Norm.class::cast),
                op(k.norm).map(Op.Norm.class::cast),
                op(q.rope).map(Op.Rope.class::cast));
        List<Node> consumed = new ArrayList<>();
        q.addTo(consumed);
        k.addTo(consumed);
        v.addTo(consumed);
        consumed.add(node);
        List<Node> linears = List.of(q.linear, k.linear, v.linear);
        return Rewrite.match(
                node,
                consumed,
                new Piece(Rewrite.joined(linears), linear, List.of(x), Rewrite.covers(linears)),
                new Piece(node.path(), fused, List.of(Piece.PREVIOUS), Rewrite.covers(without(consumed, linears))));
    }

    private boolean perHead(Branch branch, Op.Attention attention) {
        return branch.norm == null
                || weights.get(((Op.Norm) branch.norm.op()).weight()).shape().columns() == attention.headDim();
    }

    /** One of q, k, v: a linear, then perhaps a norm, then perhaps a rotation, each used once. */
    private record Branch(Node linear, Node norm, Node rope) {
        static Branch of(Uses uses, Value value) {
            Node node = uses.producer(value);
            Node rope = null;
            Node norm = null;
            if (node.op() instanceof Op.Rope && uses.once(node)) {
                rope = node;
                node = uses.producer(node.inputs().getFirst());
            }
            if (node.op() instanceof Op.Norm && uses.once(node)) {
                norm = node;
                node = uses.producer(node.inputs().getFirst());
            }
            return node.op() instanceof Op.Linear && uses.once(node) ? new Branch(node, norm, rope) : null;
        }

        Op.Linear op() {
            return (Op.Linear) linear.op();
        }

        void addTo(List<Node> nodes) {
            nodes.add(linear);
            if (norm != null) {
                nodes.add(norm);
            }
            if (rope != null) {
                nodes.add(rope);
            }
        }
    }

    /** Activation(Linear(x)), or Gate(Linear(x), Linear(x)). */
    private Rewrite.Match activation(Uses uses, Node node) {
        List<Node> linears = node.inputs().stream().map(uses::producer).toList();
        boolean all = linears.stream().allMatch(n -> n.op() instanceof Op.Linear && uses.once(n));
        if (!all || linears.stream().map(n -> n.inputs().getFirst()).distinct().count() != 1) {
            return null;
        }
        Optional<Op> fused =
                switch (node.op()) {
                    case Op.Activation a -> Optional.of(new Op.FusedLinear(
                            Optional.empty(), linears(linears), Optional.of(a.act()), false, false));
                    case Op.Gate g when !linears.get(0).equals(linears.get(1)) -> Optional.of(new Op.FusedLinear(
                            Optional.empty(), linears(linears), Optional.of(g.act()), true, false));
                    default -> Optional.empty();
                };
        if (fused.isEmpty()) {
            return null;
        }
        List<Node> consumed = new ArrayList<>(linears);
        consumed.add(node);
        Value x = linears.getFirst().inputs().getFirst();
        return Rewrite.match(
                node, consumed, new Piece(Rewrite.joined(linears), fused.get(), List.of(x), Rewrite.covers(consumed)));
    }

    /** Add(linear, x) or Add(x, linear). */
    private Rewrite.Match residual(Uses uses, Node add) {
        if (!(add.op() instanceof Op.Add)) {
            return null;
        }
        for (int side = 0; side < 2; side++) {
            Node linear = uses.producer(add.inputs().get(side));
            Value other = add.inputs().get(1 - side);
            Op.FusedLinear plain = fusedLinear(linear);
            if (plain != null && !plain.residual() && uses.once(linear)) {
                Op op = new Op.FusedLinear(plain.norm(), plain.parts(), plain.act(), plain.gated(), true);
                List<Node> consumed = List.of(linear, add);
                return Rewrite.match(
                        add,
                        consumed,
                        new Piece(
                                linear.path(),
                                op,
                                List.of(linear.inputs().getFirst(), other),
                                Rewrite.covers(consumed)));
            }
        }
        return null;
    }

    /** Linear(Norm(x)), the norm over the whole row and used only there. */
    private Rewrite.Match norm(Uses uses, Node node) {
        Op.FusedLinear linear = fusedLinear(node);
        if (linear == null || linear.norm().isPresent()) {
            return null;
        }
        Node before = uses.producer(node.inputs().getFirst());
        if (!(before.op() instanceof Op.Norm norm)
                || !uses.once(before)
                || weights.get(norm.weight()).shape().columns() != before.output().width()) {
            return null;
        }
        Op op = new Op.FusedLinear(
                Optional.of(norm), linear.parts(), linear.act(), linear.gated(), linear.residual());
        List<Value> inputs = new ArrayList<>(node.inputs());
        inputs.set(0, before.inputs().getFirst());
        List<Node> consumed = List.of(before, node);
        return Rewrite.match(node, consumed, new Piece(node.path(), op, inputs, Rewrite.covers(consumed)));
    }

    private static Op.FusedLinear fusedLinear(Node node) {
        return switch (node.op()) {
            case Op.FusedLinear f -> f;
            case Op.Linear l -> new Op.FusedLinear(Optional.empty(), List.of(l), Optional.empty(), false, false);
            default -> null;
        };
    }

    private static List<Op.Linear> linears(List<Node> nodes) {
        return nodes.stream().map(n -> (Op.Linear) n.op()).toList();
    }

    private static Optional<Op> op(Node node) {
        return Optional.ofNullable(node).map(Node::op);
    }

    private static List<Node> without(List<Node> nodes, List<Node> taken) {
        return nodes.stream().filter(n -> !taken.contains(n)).toList();
    }
}
