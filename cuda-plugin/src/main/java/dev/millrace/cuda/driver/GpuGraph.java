package dev.millrace.cuda.driver;

import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.JCudaDriver;

/** Launches recorded once and replayed with one call. */
public final class GpuGraph implements AutoCloseable {
    private final CUgraphExec exec = new CUgraphExec();
    private boolean open = true;

    GpuGraph(CUgraph captured) {
        Status.check(JCudaDriver.cuGraphInstantiate(exec, captured, 0L), "cuGraphInstantiate");
    }

    CUgraphExec exec() {
        return exec;
    }

    @Override
    public void close() {
        if (open) {
            open = false;
            Status.check(JCudaDriver.cuGraphExecDestroy(exec), "cuGraphExecDestroy");
        }
    }
}
