package dev.millrace.cuda;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.InputLimits;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.executor.Support;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value.Rows;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import dev.millrace.cuda.driver.DeviceBuffer;
import dev.millrace.cuda.driver.Gpu;
import dev.millrace.cuda.driver.GpuStream;
import dev.millrace.cuda.driver.TensorMaps;
import java.util.Set;

/** An NVIDIA GPU, ready to run graphs. */
final class CudaExecutor implements Executor {
    private final Gpu gpu;
    private final Device device;
    private final Kernels kernels;
    private final LaunchRules rules;
    private final boolean strict;

    private CudaExecutor(Gpu gpu, Device device, Kernels kernels, boolean strict) {
        this.gpu = gpu;
        this.device = device;
        this.kernels = kernels;
        boolean tiles = gpu.capability() == 90 && TensorMaps.available() && GpuStream.knowsClusters();
        this.rules = new LaunchRules(
                gpu.multiprocessors(),
                gpu.sharedBytesPerBlock(),
                tiles,
                tiles ? Clusters.of(kernels.get("attn_decode_cluster")::clustersAtOnce) : Clusters.NONE);
        this.strict = strict;
    }

    static CudaExecutor open(int ordinal, Device device, ExecutorOptions options) {
        Gpu gpu = Gpu.open(ordinal);
        try {
            return new CudaExecutor(
                    gpu, device, new Kernels(gpu), options.math() == ExecutorOptions.Math.F32);
        } catch (RuntimeException e) {
            gpu.close();
            throw e;
        }
    }

    @Override
    public String name() {
        return CudaProvider.NAME;
    }

    @Override
    public Device device() {
        return device;
    }

    @Override
    public ExecutorOptions.Math math() {
        return strict ? ExecutorOptions.Math.F32 : ExecutorOptions.Math.TF32;
    }

    @Override
    public Support supports(Op op) {
        Op.Attention attention = Graph.attention(op);
        if (attention != null && attention.headDim() > AttentionRules.MOST_HEAD_DIM) {
            return Support.no("heads of more than " + AttentionRules.MOST_HEAD_DIM + " elements");
        }
        if (attention != null && rules.attention().sharedBytes(attention, strict) > gpu.sharedBytesPerBlock()) {
            return Support.no("heads of " + attention.headDim() + " elements: they need "
                    + rules.attention().sharedBytes(attention, strict) / 1024 + " KiB of shared memory a block, "
                    + gpu.name() + " has " + gpu.sharedBytesPerBlock() / 1024);
        }
        if (op instanceof Op.EmbedSum sum && sum.parts().size() > RowSteps.Embedding.MOST) {
            return Support.no("a sum of more than " + RowSteps.Embedding.MOST + " embeddings");
        }
        return Support.YES;
    }

    @Override
    public Set<WeightFormat> formats() {
        return Format.supported();
    }

    /** 16 bits beside weights of 16 bits and less: rounding then adds no more than the weights' own. */
    @Override
    public KvFormat preferredKv(Graph graph, Weights weights) {
        return Lowering.multipliesFloats(graph, weights) ? KvFormat.F32 : KvFormat.F16;
    }

    @Override
    public Program compile(Graph graph, Weights weights, CompileOptions options) {
        gpu.use();
        for (Node node : graph.nodes()) {
            if (supports(node.op()) instanceof Support.Declined(String reason)) {
                throw new MillraceException(
                        graph.name() + ": " + node.path() + ": " + CudaProvider.NAME + " does not run " + reason);
            }
        }
        InputLimits limits = InputLimits.of(graph, weights);
        Activations activations = new Activations(gpu, graph);
        Lowering.Lowered lowered = Lowering.lower(
                graph, weights, activations, PrefillChunk.of(options, gpu.freeBytes()), rules, strict);
        int maxTokens = lowered.maxTokens();
        long needed = lowered.layout().bytes()
                + lowered.work().bytes()
                + activations.bytesFor(Rows.TOKENS, maxTokens)
                + activations.bytesFor(Rows.SELECTED, 1)
                + activations.bytesFor(Rows.SEQUENCES, 1)
                + Upload.stagingBytes();
        gpu.require(needed, graph.name() + " (" + (lowered.layout().bytes() >> 20) + " MiB of weights)");
        try (Rollback rollback = new Rollback()) {
            GpuStream stream = gpu.stream();
            rollback.add(stream, stream::close);
            rollback.add(activations, activations::close);
            DeviceBuffer memory = gpu.allocate(lowered.layout().bytes(), "the weights of " + graph.name());
            rollback.add(memory, memory::close);
            DeviceBuffer work = gpu.allocate(lowered.work().bytes(), "work space");
            rollback.add(work, work::close);
            activations.reserve(Rows.TOKENS, maxTokens);
            activations.reserve(Rows.SELECTED, 1);
            activations.reserve(Rows.SEQUENCES, 1);
            BatchTables tables = new BatchTables(gpu, maxTokens);
            rollback.add(tables, tables::close);
            BatchMessage message = new BatchMessage(gpu, maxTokens);
            rollback.add(message, message::close);
            stream.clear(work.address(), work.bytes());
            Machine machine = new Machine(
                    gpu,
                    kernels,
                    stream,
                    rules,
                    lowered,
                    memory,
                    work,
                    activations);
            CudaProgram program = new CudaProgram(machine, lowered, limits, tables, message);
            try (Upload upload = new Upload(gpu, stream, kernels.get("repack"), lowered.layout(), options.progress())) {
                upload.run(lowered.layout(), memory.address());
                program.sent(upload.uploadedBytes());
            }
            rollback.keep();
            return program;
        }
    }

    @Override
    public RoofProbe roofs() {
        gpu.use();
        return new CudaRoofs(gpu, kernels, strict);
    }

    @Override
    public void close() {
        gpu.use();
        kernels.close();
        gpu.close();
    }
}
