package dev.millrace.cuda.driver;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jcuda.driver.CUgraph;
import jcuda.driver.CUresult;
import jcuda.driver.CUstreamCaptureMode;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;

/** Work for the device, done in order. Confined to one caller at a time. */
public final class GpuStream implements AutoCloseable {
    private final Handles.Stream stream = new Handles.Stream();
    private final Arena arena = Arena.ofShared();
    private final Arguments arguments = new Arguments(arena);
    private final Handles.Host parameters;
    private final LaunchEx launchEx;
    private boolean open = true;

    /** @param dependentLaunch whether the device knows programmatic dependent launch */
    GpuStream(boolean dependentLaunch) {
        Status.check(JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING), "cuStreamCreate");
        parameters = new Handles.Host(arguments.pointers().address());
        launchEx = dependentLaunch && LaunchEx.available() ? new LaunchEx(arena, stream.address()) : null;
    }

    /** The block to write the next launch's struct to. */
    public Arguments arguments() {
        return arguments;
    }

    /** Whether {@link #launchDependent} overlaps launches, or is the same as {@link #launch}. */
    public boolean overlaps() {
        return launchEx != null;
    }

    /** Runs {@code kernel} on what was written to {@link #arguments} once everything before it is done. */
    public void launch(Kernel kernel, Geometry g) {
        kernel.allowShared(g.sharedBytes());
        int code = JCudaDriver.cuLaunchKernel(
                kernel.function(),
                g.gridX(),
                g.gridY(),
                g.gridZ(),
                g.block(),
                1,
                1,
                g.sharedBytes(),
                stream,
                parameters,
                null);
        if (code != 0) {
            throw Status.failure(code, "cuLaunchKernel", " (" + kernel.name() + ", " + g + ")");
        }
    }

    /** As {@link #launch}, but the kernel may start early and must itself wait for what came before. */
    public void launchDependent(Kernel kernel, Geometry g) {
        if (launchEx == null) {
            launch(kernel, g);
            return;
        }
        kernel.allowShared(g.sharedBytes());
        int code = launchEx.launch(kernel.function().address(), g, arguments.pointers());
        if (code != 0) {
            throw Status.failure(code, "cuLaunchKernelEx", " (" + kernel.name() + ", " + g + ")");
        }
    }

    /** Copies from pinned host memory; returns before it is done. */
    public void upload(MemorySegment pinned, long device, long bytes) {
        Status.check(
                JCudaDriver.cuMemcpyHtoDAsync(
                        new Handles.Device(device), new Handles.Host(pinned.address()), bytes, stream),
                "cuMemcpyHtoDAsync");
    }

    /** Copies to pinned host memory; returns before it is done. */
    public void download(long device, MemorySegment pinned, long bytes) {
        Status.check(
                JCudaDriver.cuMemcpyDtoHAsync(
                        new Handles.Host(pinned.address()), new Handles.Device(device), bytes, stream),
                "cuMemcpyDtoHAsync");
    }

    /** Copies within the device. */
    public void copy(long from, long to, long bytes) {
        Status.check(
                JCudaDriver.cuMemcpyDtoDAsync(new Handles.Device(to), new Handles.Device(from), bytes, stream),
                "cuMemcpyDtoDAsync");
    }

    /** Sets device memory to zero. */
    public void clear(long device, long bytes) {
        Status.check(
                JCudaDriver.cuMemsetD8Async(new Handles.Device(device), (byte) 0, bytes, stream), "cuMemsetD8Async");
    }

    /** Records the launches that {@code work} makes on this stream, without running them. */
    public GpuGraph record(Runnable work) {
        CUgraph captured = capture(work);
        try {
            return new GpuGraph(captured);
        } finally {
            JCudaDriver.cuGraphDestroy(captured);
        }
    }

    private CUgraph capture(Runnable work) {
        Status.check(
                JCudaDriver.cuStreamBeginCapture(
                        stream, CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                "cuStreamBeginCapture");
        CUgraph captured = new CUgraph();
        try {
            work.run();
        } catch (RuntimeException | Error e) {
            JCudaDriver.cuStreamEndCapture(stream, captured);
            JCudaDriver.cuGraphDestroy(captured);
            throw e;
        }
        Status.check(JCudaDriver.cuStreamEndCapture(stream, captured), "cuStreamEndCapture");
        return captured;
    }

    /** Replays a recording. */
    public void launch(GpuGraph graph) {
        int code = JCudaDriver.cuGraphLaunch(graph.exec(), stream);
        if (code != 0) {
            throw Status.failure(code, "cuGraphLaunch", "");
        }
    }

    public void mark(GpuEvent event) {
        Status.check(JCudaDriver.cuEventRecord(event.event(), stream), "cuEventRecord");
    }

    /** Waits until everything is done, and throws when something failed. */
    public void await() {
        Status.check(JCudaDriver.cuStreamSynchronize(stream), "cuStreamSynchronize");
    }

    /** Whether everything is done; throws when something failed. */
    public boolean idle() {
        int code = JCudaDriver.cuStreamQuery(stream);
        if (code != CUresult.CUDA_ERROR_NOT_READY) {
            Status.check(code, "cuStreamQuery");
            return true;
        }
        return false;
    }

    @Override
    public void close() {
        if (open) {
            open = false;
            int code = JCudaDriver.cuStreamSynchronize(stream);
            int destroyed = JCudaDriver.cuStreamDestroy(stream);
            arena.close();
            Status.check(code, "cuStreamSynchronize");
            Status.check(destroyed, "cuStreamDestroy");
        }
    }
}
