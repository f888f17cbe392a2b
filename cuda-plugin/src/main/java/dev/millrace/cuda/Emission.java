package dev.millrace.cuda;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Value;
import dev.millrace.cuda.driver.Arguments;
import dev.millrace.cuda.driver.Geometry;
import dev.millrace.cuda.driver.GpuStream;
import java.util.List;

/**
 * The launches of one step: where everything lies for its shape, and the writing of the structs of {@code abi.cuh}. Its
 * methods that write a struct's part mirror that file field by field.
 */
final class Emission {
    private final Machine machine;
    private final Shape shape;
    private final BatchTables tables;
    private final Marks marks;
    private final GpuStream stream;
    private final Arguments arguments;
    private final Value sampledValue;
    private int partials;

    /** A node that a launch does, and whether its end has a mark. */
    record Done(Node node, boolean marked) {}

    /** @param marks where times are written; null when nobody observes */
    Emission(Machine machine, Shape shape, BatchTables tables, Marks marks) {
        this.machine = machine;
        this.shape = shape;
        this.tables = tables;
        this.marks = marks;
        this.stream = machine.stream();
        this.arguments = stream.arguments();
        this.sampledValue = shape.output().equals(Graph.LOGITS) ? machine.output(Graph.LOGITS) : null;
    }

    void run(Iterable<Step> steps) {
        for (Step next : steps) {
            if (marks != null) {
                marks.node(next.node());
            }
            next.emit(this);
        }
    }

    Shape shape() {
        return shape;
    }

    Machine machine() {
        return machine;
    }

    /** Rows that {@code value} has now. */
    int rows(Value value) {
        return switch (value.rows()) {
            case TOKENS -> shape.rows();
            case SELECTED -> shape.selected();
            case SEQUENCES -> shape.sequences();
        };
    }

    /** Whether there are so few rows that matrix-vector kernels run, and every activation is float32. */
    boolean few(Value value) {
        return rows(value) <= LaunchRules.FEW;
    }

    Format format(Value value) {
        if (few(value)) {
            return Format.F32;
        }
        boolean beside = machine.formats().besideAttention(value);
        return beside && shape.singles() && machine.causal() ? Format.F32 : machine.formats().of(value);
    }

    /** Where a value is; a Select that keeps every row is its input, one that keeps a prompt's last row the end of that. */
    long address(Value value) {
        Value source = machine.selectSource(value);
        if (source == null || !aliased()) {
            return machine.activations().address(value);
        }
        long rowBytes = 4L * Activations.ld(source.width()); // what is selected from is F32
        return machine.activations().address(source) + rowBytes * (shape.rows() - shape.selected());
    }

    /** Whether the selected rows lie together where they were computed: all of them, or the last of the only sequence. */
    boolean aliased() {
        return shape.selected() == shape.rows() || (shape.sequences() == 1 && shape.selected() == 1);
    }

    long extra(String name, Value like) {
        return machine.activations().extraAddress(name, like.rows());
    }

    long constant(long offset) {
        return machine.weights() + offset;
    }

    /** Starts the struct of the next launch. */
    Arguments begin() {
        return arguments.begin();
    }

    /** The struct being written. */
    Arguments arguments() {
        return arguments;
    }

    long selected() {
        return tables.selectedAt(shape.sequences(), shape.rows());
    }

    BatchTables tables() {
        return tables;
    }

    /** Whether the sampler may read {@code value} next, so that its highest score is worth noting. */
    boolean samplesFrom(Value value) {
        return rows(value) == 1 && value.equals(sampledValue);
    }

    /** Notes that so many blocks note their highest score. */
    void bestOf(int blocks) {
        partials = blocks;
    }

    int partials() {
        return partials;
    }

    /** struct Weight, 32 bytes. */
    void weight(Matrix m) {
        arguments
                .put(constant(m.data()))
                .put(m.format().quantized() ? constant(m.scales()) : 0L)
                .put(m.rows())
                .put(m.columns())
                .put(m.ld())
                .put(m.format().code());
    }

    void noWeight() {
        arguments.put(0L).put(0L).put(0).put(0).put(0).put(0);
    }

    /** struct NormRef, 32 bytes. */
    void norm(NormRef norm) {
        if (norm == null) {
            arguments.put(0L).put(0L).put(0f).put(0).put(0).put(0);
        } else {
            arguments
                    .put(constant(norm.weight()))
                    .put(norm.bias() < 0 ? 0L : constant(norm.bias()))
                    .put(norm.epsilon())
                    .put(norm.kind())
                    .put(norm.group())
                    .put(0);
        }
    }

    /** struct BatchRef, 40 bytes. */
    void batch() {
        arguments
                .put(tables.rows(shape.sequences()))
                .put(tables.sequences())
                .put(selected())
                .put(shape.rows())
                .put(shape.sequences())
                .put(shape.selected())
                .put(shape.longest());
    }

    /** struct RopeRef, 24 bytes. */
    void rope(RopeRef rope) {
        if (rope == null) {
            arguments.put(0L).put(0).put(0).put(0).put(0);
        } else {
            arguments
                    .put(machine.activations().extraAddress(rope.table().name(), Value.Rows.TOKENS))
                    .put(rope.headDim())
                    .put(rope.table().rotaryDim())
                    .put(rope.interleaved() ? 1 : 0)
                    .put(rope.table().ld());
        }
    }

    /** Launches a kernel on the struct written since {@link #begin}; the mark that every struct ends with is added here. */
    void launch(String kernel, Geometry geometry) {
        launch(kernel, geometry, List.of());
    }

    /**
     * Launches a kernel that does several nodes, and has a mark for each but those that nothing is done for.
     *
     * @param later the nodes after the step's own
     */
    void launch(String kernel, Geometry geometry, List<Done> later) {
        arguments.align().put(marks == null ? 0L : marks.next(kernel));
        if (marks != null) {
            for (Done done : later) {
                marks.node(done.node);
                if (done.marked) {
                    marks.next(kernel);
                }
            }
        }
        stream.launchDependent(machine.kernels().get(kernel), geometry);
        machine.launched();
    }

}
