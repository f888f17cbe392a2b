package dev.millrace.cpu;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.CompileOptions.Progress;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.Value.Rows;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import dev.millrace.cpu.attention.AttentionScratch;
import dev.millrace.cpu.attention.AttentionStep;
import dev.millrace.cpu.attention.AttentionStep.Source;
import dev.millrace.cpu.attention.Rotation;
import dev.millrace.cpu.matmul.Epilogue;
import dev.millrace.cpu.matmul.Form;
import dev.millrace.cpu.matmul.PackedLinear;
import dev.millrace.cpu.matmul.WeightMemory;
import dev.millrace.cpu.pool.WorkerPool;
import dev.millrace.cpu.step.Buffer;
import dev.millrace.cpu.step.EmbedStep;
import dev.millrace.cpu.step.Handover;
import dev.millrace.cpu.step.LinearStep;
import dev.millrace.cpu.step.MatmulScratch;
import dev.millrace.cpu.step.Normalizer;
import dev.millrace.cpu.step.RowSteps;
import dev.millrace.cpu.step.Step;
import dev.millrace.quant.Views;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/** Turns a graph into steps: lays out the weights of every node once, then plans the nodes of each output. */
final class Compiler {
    /** Rows of a table that a worker copies at a time. */
    private static final int TABLE_ROWS = 256;

    private final Graph graph;
    private final Weights weights;
    private final WorkerPool pool;
    private final WeightMemory memory;
    private final Map<String, PackedLinear> linears = new HashMap<>();
    private final Map<String, Weight> tables = new HashMap<>();
    private final Map<Op.Norm, Normalizer> norms = new HashMap<>();
    private final List<Rotation> rotations = new ArrayList<>();
    private final List<AttentionScratch> attentions = new ArrayList<>();
    private final MatmulScratch scratch;
    private long vectorBytes;
    private long mappedBytes;

    Compiler(Graph graph, Weights weights, WorkerPool pool, WeightMemory memory, Progress progress) {
        this.graph = graph;
        this.weights = weights;
        this.pool = pool;
        this.memory = memory;
        graph.nodes().forEach(this::check);
        long bytes = graph.nodes().stream().mapToLong(this::linearBytes).sum();
        Machine.requireMemory("the weights of " + graph.name(), bytes, "a smaller format (--weights int8)");
        long packed = 0;
        for (Node node : graph.nodes()) {
            pack(node);
            packed += linearBytes(node);
            progress.at(packed, bytes);
        }
        int inputs = 1;
        int normalized = 1;
        for (Node node : graph.nodes()) {
            if (linears.containsKey(node.path())) {
                int width = node.inputs().getFirst().width();
                inputs = Math.max(inputs, width);
                if (node.op() instanceof Op.FusedLinear f && f.norm().isPresent()) {
                    normalized = Math.max(normalized, width);
                }
            }
        }
        Set<Form> forms = EnumSet.noneOf(Form.class);
        linears.values().forEach(l -> forms.addAll(l.forms()));
        this.scratch = new MatmulScratch(inputs, normalized, pool.workers(), forms);
    }

    MatmulScratch scratch() {
        return scratch;
    }

    List<AttentionScratch> attentions() {
        return attentions;
    }

    List<Rotation> rotations() {
        return rotations;
    }

    /** Bytes of weights laid out anew: panels, norms, biases, copied tables. */
    long ownedBytes() {
        return memory.bytes() + vectorBytes;
    }

    /** Bytes of embedding tables that are read where they lie. */
    long mappedBytes() {
        return mappedBytes;
    }

    private void check(Node node) {
        for (Op.Linear part : parts(node.op())) {
            WeightFormat format = weights.get(part.weight()).format();
            if (!PackedLinear.supports(format)) {
                throw new MillraceException(node.path() + ": cpu-simd does not multiply " + format.label()
                        + " weights; convert " + part.weight() + " first");
            }
        }
    }

    private long linearBytes(Node node) {
        return parts(node.op()).stream().mapToLong(part -> weights.get(part.weight()).bytes()).sum();
    }

    private void pack(Node node) {
        List<Op.Linear> parts = parts(node.op());
        if (!parts.isEmpty()) {
            List<Weight> matrices = parts.stream().map(p -> weights.get(p.weight())).toList();
            boolean gated = node.op() instanceof Op.FusedLinear f && f.gated();
            linears.put(node.path(), PackedLinear.pack(matrices, gated, pool, memory));
        }
    }

    private static List<Op.Linear> parts(Op op) {
        return switch (op) {
            case Op.Linear l -> List.of(l);
            case Op.FusedLinear f -> f.parts();
            default -> List.of();
        };
    }

    /** The steps that compute {@code output}. */
    Plan plan(String output) {
        Value wanted = graph.output(output);
        List<Node> nodes = Stream.of(Rows.values())
                .flatMap(rows -> graph.nodesFor(output).stream().filter(n -> n.output().rows() == rows))
                .toList();
        BufferPlan buffers = new BufferPlan(nodes, wanted);
        Map<Integer, Handover> handovers = handovers(nodes, wanted, buffers);
        Map<Rows, List<Step>> steps = new HashMap<>();
        for (Node node : nodes) {
            steps.computeIfAbsent(node.output().rows(), r -> new ArrayList<>()).add(step(node, buffers, handovers));
        }
        List<Step> prelude = rotations.stream().map(r -> (Step) new RowSteps.Rotate(r)).toList();
        return new Plan(
                prelude,
                stage(Rows.TOKENS, steps, nodes, buffers),
                stage(Rows.SELECTED, steps, nodes, buffers),
                stage(Rows.SEQUENCES, steps, nodes, buffers),
                wanted,
                buffers.of(wanted));
    }

    private static Plan.Stage stage(Rows rows, Map<Rows, List<Step>> steps, List<Node> nodes, BufferPlan buffers) {
        return new Plan.Stage(
                steps.getOrDefault(rows, List.of()).toArray(Step[]::new),
                nodes.stream().filter(n -> n.output().rows() == rows).toArray(Node[]::new),
                buffers.all(rows));
    }

    /** The values that one linear map alone reads, and as they are, of those that can be written in any layout. */
    private Map<Integer, Handover> handovers(List<Node> nodes, Value wanted, BufferPlan buffers) {
        Map<Integer, Handover> handovers = new HashMap<>();
        for (Node node : nodes) {
            Value value = node.output();
            List<Node> readers = nodes.stream().filter(n -> n.inputs().contains(value)).toList();
            boolean writable = switch (node.op()) {
                case Op.Linear l -> true;
                case Op.FusedLinear f -> !f.residual();
                case Op.Attention a -> true;
                case Op.SelfAttention s -> true;
                default -> false;
            };
            if (writable && !value.equals(wanted) && readers.size() == 1 && readsAsIs(readers.getFirst(), value)) {
                PackedLinear reader = linears.get(readers.getFirst().path());
                handovers.put(value.id(), new Handover(reader, buffers.of(value)));
            }
        }
        return handovers;
    }

    /** Whether a node is a linear map of all rows of {@code value}, with no norm before it. */
    private boolean readsAsIs(Node reader, Value value) {
        boolean normed = reader.op() instanceof Op.FusedLinear f && f.norm().isPresent();
        return linears.containsKey(reader.path())
                && !normed
                && reader.output().rows() == value.rows()
                && reader.inputs().indexOf(value) == 0
                && reader.inputs().lastIndexOf(value) == 0;
    }

    private Step step(Node node, BufferPlan buffers, Map<Integer, Handover> handovers) {
        List<Buffer> in = node.inputs().stream().map(buffers::of).toList();
        Buffer y = buffers.of(node.output());
        Handover out = handovers.get(node.output().id());
        int width = node.output().width();
        return switch (node.op()) {
            case Op.Embed e -> embed(List.of(e), y, width);
            case Op.EmbedSum sum -> embed(sum.parts(), y, width);
            case Op.Norm n -> new RowSteps.Norm(norm(n), in.get(0), y, width);
            case Op.Linear l -> linear(node, Optional.empty(), List.of(l), null, in, y, handovers);
            case Op.FusedLinear f -> linear(node, f.norm(), f.parts(), f, in, y, handovers);
            case Op.Rope r -> new RowSteps.Rope(rotation(r), in.get(0), y, width);
            case Op.Attention a -> {
                int kvWidth = a.kvHeads() * a.headDim();
                Source q = new Source(in.get(0), a.heads() * a.headDim(), 0);
                Source k = new Source(in.get(1), kvWidth, 0);
                yield attention(a, q, k, new Source(in.get(2), kvWidth, 0), null, null, null, y, out);
            }
            case Op.SelfAttention s -> selfAttention(s, in.get(0), y, out);
            case Op.Activation a -> new RowSteps.Activation(a.act(), in.get(0), y, width);
            case Op.Gate g -> new RowSteps.Gate(g.act(), in.get(0), in.get(1), y, width);
            case Op.Add add -> new RowSteps.Add(in.get(0), in.get(1), y, width);
            case Op.Permute p -> new RowSteps.Permute(order(node, p), in.get(0), y);
            case Op.Select s -> new RowSteps.Select(in.get(0), y, width);
            case Op.Pool p -> new RowSteps.Pool(p.pooling(), in.get(0), y, width);
        };
    }

    private Step embed(List<Op.Embed> parts, Buffer y, int width) {
        List<Weight> readable = parts.stream().map(p -> tables.computeIfAbsent(p.table(), this::table)).toList();
        return new EmbedStep(parts, readable, y, width, pool.workers());
    }

    /** A table that can be read row by row at no cost: where it lies in memory, else a copy. */
    private Weight table(String name) {
        Weight weight = weights.get(name);
        if (weight.segment().isPresent()) {
            mappedBytes += weight.bytes();
            return weight;
        }
        Machine.requireMemory(name, weight.bytes(), "a smaller model");
        MemorySegment copy = memory.allocate(weight.bytes());
        long rowBytes = weight.format().rowBytes(weight.shape().columns());
        int rows = Math.toIntExact(weight.shape().rows());
        pool.run((worker, workers) -> {
            int pieces = Math.ceilDiv(rows, TABLE_ROWS);
            for (int piece = pool.claim(worker, pieces); piece >= 0; piece = pool.claim(worker, pieces)) {
                int at = piece * TABLE_ROWS;
                int count = Math.min(TABLE_ROWS, rows - at);
                weight.copyRows(at, count, copy.asSlice(at * rowBytes, count * rowBytes));
            }
        });
        return Views.of(name, weight.shape(), weight.format(), copy);
    }

    private Step linear(
            Node node,
            Optional<Op.Norm> norm,
            List<Op.Linear> parts,
            Op.FusedLinear fused,
            List<Buffer> in,
            Buffer y,
            Map<Integer, Handover> handovers) {
        Epilogue epilogue = new Epilogue(bias(parts), fused == null ? null : fused.act().orElse(null));
        return new LinearStep(
                linears.get(node.path()),
                norm.map(this::norm).orElse(null),
                epilogue,
                in.get(0),
                fused != null && fused.residual() ? in.get(1) : null,
                y,
                handovers.get(node.inputs().getFirst().id()),
                handovers.get(node.output().id()),
                scratch,
                pool);
    }

    /** The biases of all parts side by side, 0 for parts without; null when there is none. */
    private float[] bias(List<Op.Linear> parts) {
        if (parts.stream().noneMatch(p -> p.bias().isPresent())) {
            return null;
        }
        int at = 0;
        float[] all = new float[0];
        for (Op.Linear part : parts) {
            int rows = Math.toIntExact(weights.get(part.weight()).shape().rows());
            all = Arrays.copyOf(all, at + rows);
            if (part.bias().isPresent()) {
                System.arraycopy(weights.get(part.bias().get()).floats(), 0, all, at, rows);
            }
            at += rows;
        }
        vectorBytes += 4L * all.length;
        return all;
    }

    private Normalizer norm(Op.Norm norm) {
        return norms.computeIfAbsent(norm, n -> {
            Normalizer made = new Normalizer(n, weights);
            vectorBytes += made.bytes();
            return made;
        });
    }

    private Rotation rotation(Op.Rope rope) {
        for (Rotation rotation : rotations) {
            if (rotation.rope().equals(rope)) {
                return rotation;
            }
        }
        rotations.add(new Rotation(rope));
        return rotations.getLast();
    }

    private int[] order(Node node, Op.Permute permute) {
        float[] floats = weights.get(permute.order()).floats();
        int[] order = new int[floats.length];
        for (int i = 0; i < order.length; i++) {
            order[i] = (int) floats[i];
            if (order[i] != floats[i] || order[i] < 0 || order[i] >= order.length) {
                throw new MillraceException(node.path() + ": " + permute.order() + " holds " + floats[i] + " at " + i
                        + "; it must hold the columns 0 to " + (order.length - 1));
            }
        }
        return order;
    }

    private Step selfAttention(Op.SelfAttention s, Buffer qkv, Buffer y, Handover out) {
        Op.Attention a = s.attention();
        int qWidth = a.heads() * a.headDim();
        int kvWidth = a.kvHeads() * a.headDim();
        int stride = qWidth + 2 * kvWidth;
        return attention(
                a,
                new Source(qkv, stride, 0),
                new Source(qkv, stride, qWidth),
                new Source(qkv, stride, qWidth + kvWidth),
                s.qNorm().map(this::norm).orElse(null),
                s.kNorm().map(this::norm).orElse(null),
                s.rope().map(this::rotation).orElse(null),
                y,
                out);
    }

    private Step attention(
            Op.Attention a,
            Source q,
            Source k,
            Source v,
            Normalizer qNorm,
            Normalizer kNorm,
            Rotation r,
            Buffer y,
            Handover out) {
        AttentionScratch space = attentions.stream().filter(s -> s.fits(a)).findFirst().orElse(null);
        if (space == null) {
            space = new AttentionScratch(a, pool.workers());
            attentions.add(space);
        }
        return new AttentionStep(a, q, k, v, qNorm, kNorm, r, y, out, slot(a), space, pool);
    }

    /** The index of a layer's cache in a session. */
    private int slot(Op.Attention attention) {
        return kept(graph).indexOf(attention);
    }

    /** The attentions whose keys and values sessions keep. */
    static List<Op.Attention> kept(Graph graph) {
        return graph.attentions().stream().filter(Op.Attention::causal).toList();
    }
}
