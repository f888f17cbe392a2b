package dev.millrace.cuda.driver;

import jcuda.driver.CUfunction_attribute;
import jcuda.driver.JCudaDriver;

/** A kernel of a loaded module. */
public final class Kernel {
    private static final int DEFAULT_SHARED = 32 * 1024;

    /** Kernels of whole layers, of which the next one's blocks are to fit beside those of the one before. */
    private static final String OF_LAYERS = "layer_";

    private final String name;
    private final Handles.Function function;
    private int sharedLimit = DEFAULT_SHARED;

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

    /** Lets a block have that much dynamic shared memory: beyond 48 KiB, with what the kernel declares itself, it must be allowed. */
    void allowShared(int bytes) {
        if (bytes > sharedLimit) {
            Status.check(
                    JCudaDriver.cuFuncSetAttribute(
                            function, CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes),
                    "cuFuncSetAttribute",
                    name + ", " + bytes + " bytes of shared memory");
            sharedLimit = bytes;
            if (name.startsWith(OF_LAYERS)) {
                Status.check(
                        JCudaDriver.cuFuncSetAttribute(
                                function, CUfunction_attribute.CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 100),
                        "cuFuncSetAttribute",
                        name + ", all of a multiprocessor's memory as shared memory");
            }
        }
    }

    /** How many clusters of a launch the device runs at once; 0 where the driver cannot say. */
    public int clustersAtOnce(Geometry g) {
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
