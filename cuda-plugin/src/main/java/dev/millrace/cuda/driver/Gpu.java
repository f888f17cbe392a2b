package dev.millrace.cuda.driver;

import dev.millrace.core.MillraceException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicLong;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * A device made ready: its primary context, retained. The driver ties a context to threads, so whoever may come from
 * another thread calls {@link #use} first.
 */
public final class Gpu implements AutoCloseable {
    /** The compute capability, times ten, from which kernels may start before the one before them is done. */
    private static final int DEPENDENT_LAUNCH = 90;

    private final CUdevice device = new CUdevice();
    private final CUcontext context = new CUcontext();
    private final AtomicLong allocated = new AtomicLong();
    private final String name;
    private final long totalBytes;
    private final int multiprocessors;
    private final int capability;
    private final int sharedBytesPerBlock;
    private final int cacheBytes;
    private boolean open = true;

    private Gpu(int ordinal) {
        Status.check(JCudaDriver.cuInit(0), "cuInit");
        int code = JCudaDriver.cuDeviceGet(device, ordinal);
        if (code == CUresult.CUDA_ERROR_INVALID_DEVICE) {
            throw new MillraceException("CUDA: there is no device " + ordinal + "; see: millrace devices");
        }
        Status.check(code, "cuDeviceGet");
        byte[] text = new byte[256];
        Status.check(JCudaDriver.cuDeviceGetName(text, text.length, device), "cuDeviceGetName");
        name = new String(text, StandardCharsets.UTF_8).split("\0", 2)[0].strip();
        long[] total = new long[1];
        Status.check(JCudaDriver.cuDeviceTotalMem(total, device), "cuDeviceTotalMem");
        totalBytes = total[0];
        multiprocessors = attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
        capability = 10 * attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
                + attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
        sharedBytesPerBlock = attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
        cacheBytes = attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
        if (capability >= DEPENDENT_LAUNCH) {
            LaunchEx.prepare();
        }
        Status.check(JCudaDriver.cuDevicePrimaryCtxRetain(context, device), "cuDevicePrimaryCtxRetain", name);
        use();
    }

    /**
     * Opens device {@code ordinal}.
     *
     * @throws MillraceException when there is none, or it cannot be used
     */
    public static Gpu open(int ordinal) {
        return new Gpu(ordinal);
    }

    /** Makes it the calling thread's device. */
    public void use() {
        if (!open) {
            throw new IllegalStateException("the device is closed");
        }
        Status.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    }

    public String name() {
        return name;
    }

    /** Bytes of memory it has in all. */
    public long totalBytes() {
        return totalBytes;
    }

    public int multiprocessors() {
        return multiprocessors;
    }

    /** Compute capability times ten: 90 for 9.0. */
    public int capability() {
        return capability;
    }

    /** The most shared memory a block can have. */
    public int sharedBytesPerBlock() {
        return sharedBytesPerBlock;
    }

    /** Bytes of second-level cache. */
    public int cacheBytes() {
        return cacheBytes;
    }

    /** Bytes nobody uses now, as the driver says. */
    public long freeBytes() {
        long[] free = new long[1];
        Status.check(JCudaDriver.cuMemGetInfo(free, new long[1]), "cuMemGetInfo");
        return free[0];
    }

    /** Bytes allocated here and not yet freed. */
    public long allocatedBytes() {
        return allocated.get();
    }

    /**
     * Takes device memory. Its content is undefined.
     *
     * @param what what it is for, named in the message when there is too little
     * @throws MillraceException when memory does not suffice, with the bytes needed and found
     */
    public DeviceBuffer allocate(long bytes, String what) {
        Handles.Device pointer = new Handles.Device();
        int code = JCudaDriver.cuMemAlloc(pointer, Math.max(bytes, 1));
        if (code == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
            throw tooLittle(bytes, what);
        }
        Status.check(code, "cuMemAlloc", bytes + " bytes for " + what);
        allocated.addAndGet(bytes);
        return new DeviceBuffer(this, pointer.address(), bytes);
    }

    /** Throws, with the bytes needed and found, unless so many are free. */
    public void require(long bytes, String what) {
        if (bytes > freeBytes()) {
            throw tooLittle(bytes, what);
        }
    }

    private MillraceException tooLittle(long bytes, String what) {
        return new MillraceException(
                "CUDA: " + what + " needs " + mib(bytes) + ", " + name + " has " + mib(freeBytes()) + " free of "
                        + mib(totalBytes) + "; use --weights int8 or int4, --kv f16 or a shorter context, or free memory");
    }

    private static String mib(long bytes) {
        return ((bytes + (1 << 20) - 1) >> 20) + " MiB";
    }

    void free(long address, long bytes) {
        use();
        Status.check(JCudaDriver.cuMemFree(new Handles.Device(address)), "cuMemFree");
        allocated.addAndGet(-bytes);
    }

    /** Takes page-locked host memory, filled with zeros. */
    public PinnedBuffer pin(long bytes) {
        Handles.Host host = new Handles.Host();
        Status.check(
                JCudaDriver.cuMemHostAlloc(
                        host,
                        bytes,
                        JCudaDriver.CU_MEMHOSTALLOC_PORTABLE | JCudaDriver.CU_MEMHOSTALLOC_DEVICEMAP),
                "cuMemHostAlloc",
                bytes + " bytes");
        Handles.Device mapped = new Handles.Device();
        Status.check(JCudaDriver.cuMemHostGetDevicePointer(mapped, host, 0), "cuMemHostGetDevicePointer");
        PinnedBuffer buffer = new PinnedBuffer(this, host.address(), mapped.address(), bytes);
        buffer.segment().fill((byte) 0);
        return buffer;
    }

    void unpin(long address) {
        use();
        Status.check(JCudaDriver.cuMemFreeHost(new Handles.Host(address)), "cuMemFreeHost");
    }

    public GpuStream stream() {
        return new GpuStream(capability >= DEPENDENT_LAUNCH);
    }

    public GpuEvent event() {
        return new GpuEvent();
    }

    /**
     * Loads compiled kernels.
     *
     * @param name what to call them in messages
     * @param image a cubin or fatbin, or PTX text that ends in a zero byte
     */
    public KernelModule load(String name, byte[] image) {
        return new KernelModule(this, name, image);
    }

    private int attribute(int attribute) {
        int[] value = new int[1];
        Status.check(JCudaDriver.cuDeviceGetAttribute(value, attribute, device), "cuDeviceGetAttribute");
        return value[0];
    }

    @Override
    public void close() {
        if (open) {
            open = false;
            Status.check(JCudaDriver.cuDevicePrimaryCtxRelease(device), "cuDevicePrimaryCtxRelease");
        }
    }
}
