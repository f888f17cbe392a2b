package dev.millrace.cuda.driver;

/** A piece of device memory. Closing frees it; closing twice is allowed. */
public final class DeviceBuffer implements AutoCloseable {
    private final Gpu gpu;
    private final long address;
    private final long bytes;
    private boolean open = true;

    DeviceBuffer(Gpu gpu, long address, long bytes) {
        this.gpu = gpu;
        this.address = address;
        this.bytes = bytes;
    }

    public long address() {
        return address;
    }

    public long bytes() {
        return bytes;
    }

    @Override
    public void close() {
        if (open) {
            open = false;
            gpu.free(address, bytes);
        }
    }
}
