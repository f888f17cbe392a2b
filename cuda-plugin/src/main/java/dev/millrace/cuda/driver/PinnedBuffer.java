package dev.millrace.cuda.driver;

import java.lang.foreign.MemorySegment;

/**
 * Page-locked host memory that the device also sees: copies from and to it run at the bus's full speed and need no
 * waiting, and kernels can write to it. Closing frees it; closing twice is allowed.
 */
public final class PinnedBuffer implements AutoCloseable {
    private final Gpu gpu;
    private final MemorySegment segment;
    private final long deviceAddress;
    private boolean open = true;

    PinnedBuffer(Gpu gpu, long hostAddress, long deviceAddress, long bytes) {
        this.gpu = gpu;
        this.deviceAddress = deviceAddress;
        this.segment = MemorySegment.ofAddress(hostAddress).reinterpret(bytes);
    }

    /** The memory as the host sees it; must not be used after close. */
    public MemorySegment segment() {
        return segment;
    }

    /** The same memory as kernels see it. */
    public long deviceAddress() {
        return deviceAddress;
    }

    @Override
    public void close() {
        if (open) {
            open = false;
            gpu.unpin(segment.address());
        }
    }
}
