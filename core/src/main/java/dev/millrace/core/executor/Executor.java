package dev.millrace.core.executor;

import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import java.util.Set;

/** A device made ready to run graphs. Closing it closes what it made. */
public interface Executor extends AutoCloseable {
    /** The provider's name. */
    String name();

    Device device();

    /** Worker threads that take part in a run, the calling one included; 0 for devices that have none. */
    default int threads() {
        return 0;
    }

    /** What products of float32 weights may round to. */
    default ExecutorOptions.Math math() {
        return ExecutorOptions.Math.F32;
    }

    /** Whether it runs this op; decides which fused ops a graph is rewritten into. Never throws. */
    Support supports(Op op);

    /** The weight formats its matrix multiplication reads as they are. Others are converted before {@link #compile}. */
    Set<WeightFormat> formats();

    /** How it would keep the keys and values of such a graph when it may choose. */
    default KvFormat preferredKv(Graph graph, Weights weights) {
        return KvFormat.F32;
    }

    /**
     * Lays the weights out for the device and prepares every node. The graph may hold unfused and fused ops that {@link
     * #supports} accepts. Reads the weights, which may be closed afterwards only if {@link Program#keepsWeights} is
     * false.
     *
     * @throws dev.millrace.core.MillraceException when an op or format is not supported (with the node's path and the
     *     reason) or memory does not suffice (with bytes needed and found); nothing stays allocated then
     */
    Program compile(Graph graph, Weights weights, CompileOptions options);

    /** Measures what this device can do at most. */
    RoofProbe roofs();

    @Override
    void close();
}
