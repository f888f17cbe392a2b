package dev.millrace.cuda.driver;

import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.JCudaDriver;

/** A point on a stream that can be waited for and whose time is known. */
public final class GpuEvent implements AutoCloseable {
    private final CUevent event = new CUevent();
    private boolean open = true;

    GpuEvent() {
        Status.check(JCudaDriver.cuEventCreate(event, CUevent_flags.CU_EVENT_DEFAULT), "cuEventCreate");
    }

    CUevent event() {
        return event;
    }

    /** Waits until the stream has passed it; returns at once if it was never recorded. */
    public void await() {
        Status.check(JCudaDriver.cuEventSynchronize(event), "cuEventSynchronize");
    }

    /** Milliseconds from {@code earlier} to this; both must have passed. */
    public float millisSince(GpuEvent earlier) {
        float[] millis = new float[1];
        Status.check(JCudaDriver.cuEventElapsedTime(millis, earlier.event, event), "cuEventElapsedTime");
        return millis[0];
    }

    @Override
    public void close() {
        if (open) {
            open = false;
            Status.check(JCudaDriver.cuEventDestroy(event), "cuEventDestroy");
        }
    }
}
