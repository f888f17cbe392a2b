package dev.millrace.cuda.driver;

import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUfunction;
import jcuda.driver.CUstream;

/**
 * JCuda's opaque pointers with their addresses in sight. JCuda keeps the address protected, so subclasses show it;
 * nothing outside this package sees them.
 */
final class Handles {
    private Handles() {}

    /** A place in host memory. */
    static final class Host extends Pointer {
        Host() {}

        Host(long address) {
            super(address);
        }

        long address() {
            return getNativePointer() + getByteOffset();
        }
    }

    /** A place in device memory. */
    static final class Device extends CUdeviceptr {
        Device() {}

        Device(long address) {
            super(new CUdeviceptr(), address);
        }

        long address() {
            return getNativePointer() + getByteOffset();
        }
    }

    static final class Function extends CUfunction {
        long address() {
            return getNativePointer();
        }
    }

    static final class Stream extends CUstream {
        long address() {
            return getNativePointer();
        }
    }
}
