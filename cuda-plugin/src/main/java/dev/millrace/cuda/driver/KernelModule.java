package dev.millrace.cuda.driver;

import dev.millrace.core.MillraceException;
import java.util.HashMap;
import java.util.Map;
import jcuda.driver.CUmodule;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/** Compiled kernels (a cubin, a fatbin, or PTX text) loaded into a context. */
public final class KernelModule implements AutoCloseable {
    private final Gpu gpu;
    private final String name;
    private final CUmodule module = new CUmodule();
    private final Map<String, Kernel> kernels = new HashMap<>();
    private boolean open = true;

    KernelModule(Gpu gpu, String name, byte[] image) {
        this.gpu = gpu;
        this.name = name;
        Status.check(JCudaDriver.cuModuleLoadData(module, image), "cuModuleLoadData", name);
    }

    /**
     * A kernel by its C name.
     *
     * @throws MillraceException when the module has none of that name
     */
    public Kernel kernel(String kernel) {
        return kernels.computeIfAbsent(kernel, this::find);
    }

    private Kernel find(String kernel) {
        Handles.Function function = new Handles.Function();
        int code = JCudaDriver.cuModuleGetFunction(function, module, kernel);
        if (code == CUresult.CUDA_ERROR_NOT_FOUND) {
            throw new MillraceException(
                    "CUDA: module " + name + " has no kernel " + kernel + "; the plugin's kernels and classes do not belong"
                            + " together: rebuild it");
        }
        Status.check(code, "cuModuleGetFunction", kernel);
        return new Kernel(kernel, function);
    }

    @Override
    public void close() {
        if (open) {
            open = false;
            gpu.use();
            Status.check(JCudaDriver.cuModuleUnload(module), "cuModuleUnload", name);
        }
    }
}
