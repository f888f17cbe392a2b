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
    private StreamObserver observer;
    private boolean open = true;

    /** @param dependentLaunch whether the device knows programmatic dependent launch */
    GpuStream(boolean dependentLaunch) {
        Status.check(JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING), "cuStreamCreate");
        parameters = new Handles.Host(arguments.pointers().address());
        launchEx = dependentLaunch && LaunchEx.available() ? new LaunchEx(arena, stream.address()) : null;
    }

    /** Whether the driver can launch blocks in clusters, which compute capability 9.0 has. */
    public static boolean knowsClusters() {
        return LaunchEx.available();
    }

    /** The block to write the next launch's struct to. */
    public Arguments arguments() {
        return arguments;
    }

    /** Tells {@code observer} of every call from now on; null stops it. */
    public void observe(StreamObserver observer) {
        this.observer = observer;
    }

    private long now() {
        return observer == null ? 0 : System.nanoTime();
    }

    private void called(String call, long start) {
        if (observer != null) {
            observer.called(call, start, System.nanoTime());
        }
    }

    /** Whether {@link #launchDependent} overlaps launches, or is the same as {@link #launch}. */
    public boolean overlaps() {
        return launchEx != null;
    }

    /** Runs {@code kernel} on what was written to {@link #arguments} once everything before it is done. */
    public void launch(Kernel kernel, Geometry g) {
        if (g.cluster() > 1) {
            throw new IllegalArgumentException(kernel.name() + ": clusters take a dependent launch");
        }
        kernel.prepare(g);
        long start = now();
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
        called("cuLaunchKernel", start);
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
        kernel.prepare(g);
        long start = now();
        int code = launchEx.launch(kernel.function().address(), g, arguments.pointers());
        called("cuLaunchKernelEx", start);
        if (code != 0) {
            throw Status.failure(code, "cuLaunchKernelEx", " (" + kernel.name() + ", " + g + ")");
        }
    }

    /** Copies from pinned host memory; returns before it is done. */
    public void upload(MemorySegment pinned, long device, long bytes) {
        if (observer != null) {
            observer.copies("host to device", bytes);
        }
        long start = now();
        Status.check(
                JCudaDriver.cuMemcpyHtoDAsync(
                        new Handles.Device(device), new Handles.Host(pinned.address()), bytes, stream),
                "cuMemcpyHtoDAsync");
        called("cuMemcpyHtoDAsync", start);
        if (observer != null) {
            observer.copied();
        }
    }

    /** Copies to pinned host memory; returns before it is done. */
    public void download(long device, MemorySegment pinned, long bytes) {
        if (observer != null) {
            observer.copies("device to host", bytes);
        }
        long start = now();
        Status.check(
                JCudaDriver.cuMemcpyDtoHAsync(
                        new Handles.Host(pinned.address()), new Handles.Device(device), bytes, stream),
                "cuMemcpyDtoHAsync");
        called("cuMemcpyDtoHAsync", start);
        if (observer != null) {
            observer.copied();
        }
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
            long start = now();
            GpuGraph graph = new GpuGraph(captured);
            called("cuGraphInstantiate", start);
            return graph;
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
        long start = now();
        int code = JCudaDriver.cuGraphLaunch(graph.exec(), stream);
        called("cuGraphLaunch", start);
        if (code != 0) {
            throw Status.failure(code, "cuGraphLaunch", "");
        }
    }

    public void mark(GpuEvent event) {
        Status.check(JCudaDriver.cuEventRecord(event.event(), stream), "cuEventRecord");
    }

    /** Waits until everything is done, and throws when something failed. */
    public void await() {
        long start = now();
        int code = JCudaDriver.cuStreamSynchronize(stream);
        called("cuStreamSynchronize", start);
        Status.check(code, "cuStreamSynchronize");
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
