package dev.millrace.cuda.driver;

import jcuda.driver.CUfunction_attribute;
import jcuda.driver.JCudaDriver;

/** A kernel of a loaded module. */
public final class Kernel {
    private static final int DEFAULT_SHARED = 32 * 1024;

    private final String name;
    private final Handles.Function function;
    private int sharedLimit = DEFAULT_SHARED;
    private boolean allShared;

    Kernel(String name, Handles.Function function) {
        this.name = name;
        this.function = function;
    }

    public String name() {
        return name;
    }

    Handles.Function function() {
        return function;
    }

    /** Lets a block have its dynamic shared memory, which beyond 48 KiB, with what the kernel declares itself, must be allowed. */
    void prepare(Geometry g) {
        if (g.sharedBytes() > sharedLimit) {
            set(CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, g.sharedBytes(), " bytes of shared memory");
            sharedLimit = g.sharedBytes();
        }
        if (g.allShared() && !allShared) {
            set(CUfunction_attribute.CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 100, "% of a multiprocessor's memory shared");
            allShared = true;
        }
    }

    private void set(int attribute, int value, String what) {
        Status.check(
                JCudaDriver.cuFuncSetAttribute(function, attribute, value), "cuFuncSetAttribute", name + ", " + value + what);
    }

    /** How many clusters of a launch the device runs at once; 0 where the driver cannot say. */
    public int clustersAtOnce(Geometry g) {
        prepare(g);
        return LaunchEx.clusters(function.address(), g);
    }

    /** Registers a thread uses. */
    public int registers() {
        int[] value = new int[1];
        Status.check(
                JCudaDriver.cuFuncGetAttribute(value, CUfunction_attribute.CU_FUNC_ATTRIBUTE_NUM_REGS, function),
                "cuFuncGetAttribute",
                name);
        return value[0];
    }
}
