package dev.millrace.cuda.driver;

import dev.millrace.core.MillraceException;
import jcuda.driver.CUresult;

/** The driver's return codes as failures with a hint. */
final class Status {
    private Status() {}

    /** Throws unless {@code code} is success; {@code call} is the driver function that returned it. */
    static void check(int code, String call) {
        if (code != CUresult.CUDA_SUCCESS) {
            throw failure(code, call, "");
        }
    }

    /** Throws unless {@code code} is success; {@code what} says in the message what was attempted. */
    static void check(int code, String call, String what) {
        if (code != CUresult.CUDA_SUCCESS) {
            throw failure(code, call, " (" + what + ")");
        }
    }

    static MillraceException failure(int code, String call, String what) {
        return new MillraceException(
                "CUDA: " + call + what + " failed with " + CUresult.stringFor(code) + " (" + code + ")" + hint(code));
    }

    private static String hint(int code) {
        String hint =
                switch (code) {
                    case CUresult.CUDA_ERROR_OUT_OF_MEMORY ->
                        "the device has no room left: use --weights int8 or int4, --kv f16, a shorter context, or free it";
                    case CUresult.CUDA_ERROR_NO_BINARY_FOR_GPU,
                            CUresult.CUDA_ERROR_INVALID_PTX,
                            CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
                            CUresult.CUDA_ERROR_INVALID_IMAGE ->
                        "the kernels were built for another card or a newer driver: update the NVIDIA driver";
                    case CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,
                            CUresult.CUDA_ERROR_MISALIGNED_ADDRESS,
                            CUresult.CUDA_ERROR_LAUNCH_FAILED ->
                        "a kernel broke and the context is lost: start again under compute-sanitizer to find it";
                    case CUresult.CUDA_ERROR_LAUNCH_TIMEOUT ->
                        "a watchdog stopped a kernel: use a card that drives no display";
                    case CUresult.CUDA_ERROR_ECC_UNCORRECTABLE -> "the card's memory is damaged: see nvidia-smi -q";
                    case CUresult.CUDA_ERROR_NOT_INITIALIZED,
                            CUresult.CUDA_ERROR_DEINITIALIZED,
                            CUresult.CUDA_ERROR_INVALID_CONTEXT ->
                        "the device was closed or never opened";
                    default -> "";
                };
        return hint.isEmpty() ? "" : "; " + hint;
    }
}
