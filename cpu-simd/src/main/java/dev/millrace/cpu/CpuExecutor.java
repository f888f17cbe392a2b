package dev.millrace.cpu;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.executor.Support;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import dev.millrace.cpu.matmul.PackedLinear;
import dev.millrace.cpu.matmul.WeightMemory;
import dev.millrace.cpu.pool.WorkerPool;
import dev.millrace.cpu.roof.CpuRoofs;
import java.util.Arrays;
import java.util.Set;
import java.util.stream.Collectors;

/** This machine's cores, through the Vector API. */
final class CpuExecutor implements Executor {
    /** More than any machine has cores; beyond, threads and their memory are all that such a number gives. */
    private static final int MOST_WORKERS = 1024;

    private final WorkerPool pool;
    private final Device device;

    CpuExecutor(ExecutorOptions options) {
        int cores = Machine.cores();
        int workers = options.threads() == 0 ? cores : options.threads();
        if (workers > MOST_WORKERS) {
            throw new MillraceException(CpuProvider.NAME + " has at most " + MOST_WORKERS + " workers, not " + workers
                    + ": use --threads " + cores);
        }
        PerformanceCliff.check(workers, cores);
        this.pool = new WorkerPool(workers);
        // linking its system calls takes 20 ms of a start: while others prepare what is to be compiled
        Thread.ofPlatform().daemon().name("cpu-simd memory").start(WeightMemory::prepare);
        this.device = new Device(
                0, Machine.processor(), Machine.memoryBytes(), Lanes.BITS + "-bit vectors, " + workers + " workers");
    }

    @Override
    public String name() {
        return CpuProvider.NAME;
    }

    @Override
    public Device device() {
        return device;
    }

    @Override
    public int threads() {
        return pool.workers();
    }

    /** Every op there is, fused or not. */
    @Override
    public Support supports(Op op) {
        return Support.YES;
    }

    @Override
    public Set<WeightFormat> formats() {
        return Arrays.stream(WeightFormat.values())
                .filter(PackedLinear::supports)
                .collect(Collectors.toUnmodifiableSet());
    }

    @Override
    public Program compile(Graph graph, Weights weights, CompileOptions options) {
        return new CpuProgram(graph, weights, options, pool);
    }

    @Override
    public RoofProbe roofs() {
        return new CpuRoofs(pool.workers());
    }

    @Override
    public void close() {
        pool.close();
    }
}
