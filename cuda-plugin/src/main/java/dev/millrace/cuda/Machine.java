package dev.millrace.cuda;

import dev.millrace.core.graph.Value;
import dev.millrace.cuda.driver.DeviceBuffer;
import dev.millrace.cuda.driver.Gpu;
import dev.millrace.cuda.driver.GpuStream;
import java.util.List;

/**
 * What the steps of one program share: its device, stream, weights, activations and work space.
 */
final class Machine implements AutoCloseable {
    private final Gpu gpu;
    private final Kernels kernels;
    private final GpuStream stream;
    private final LaunchRules rules;
    private final Lowering.Lowered lowered;
    private final DeviceBuffer weights;
    private final DeviceBuffer work;
    private final Activations activations;
    private long launches;

    /** Takes over what it is given: closing it closes them, but not {@code gpu} and {@code kernels}. */
    Machine(
            Gpu gpu,
            Kernels kernels,
            GpuStream stream,
            LaunchRules rules,
            Lowering.Lowered lowered,
            DeviceBuffer weights,
            DeviceBuffer work,
            Activations activations) {
        this.gpu = gpu;
        this.kernels = kernels;
        this.stream = stream;
        this.rules = rules;
        this.lowered = lowered;
        this.weights = weights;
        this.work = work;
        this.activations = activations;
    }

    Gpu gpu() {
        return gpu;
    }

    Kernels kernels() {
        return kernels;
    }

    GpuStream stream() {
        return stream;
    }

    LaunchRules rules() {
        return rules;
    }

    Activations activations() {
        return activations;
    }

    /** Where the program's weights start. */
    long weights() {
        return weights.address();
    }

    long weightBytes() {
        return weights.bytes();
    }

    long workBytes() {
        return work.bytes();
    }

    ValueFormats formats() {
        return lowered.formats();
    }

    boolean causal() {
        return lowered.causal();
    }

    boolean strict() {
        return lowered.strict();
    }

    List<RopeRef.Table> ropes() {
        return lowered.ropes();
    }

    /** What {@code value} selects rows of; null when it is no selection. */
    Value selectSource(Value value) {
        return lowered.selectSources().get(value);
    }

    /** The activation given out under that name. */
    Value output(String name) {
        return lowered.graph().output(name);
    }

    long counters() {
        return work.address() + lowered.work().counters();
    }

    /** Where {@link LayerRules} has streams and their parts. */
    long layers() {
        return work.address() + lowered.work().layers();
    }

    long attentionWork() {
        return work.address() + lowered.work().attention();
    }

    long productWork() {
        return work.address() + lowered.work().product();
    }

    /** Where a block format's matrix is expanded to. */
    long expanded() {
        return work.address() + lowered.work().expanded();
    }

    long best() {
        return work.address() + lowered.work().best();
    }

    long samplerWork() {
        return work.address() + lowered.work().sampler();
    }

    void launched() {
        launches++;
    }

    /** Launches made by hand so far, recorded ones included. */
    long launches() {
        return launches;
    }

    @Override
    public void close() {
        stream.close();
        activations.close();
        work.close();
        weights.close();
    }
}
