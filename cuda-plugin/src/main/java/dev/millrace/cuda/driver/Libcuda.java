package dev.millrace.cuda.driver;

import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.JCudaDriver;

/**
 * What the driver itself says about the devices. JCuda's classes throw from their static initialisers where there is no
 * driver and stay broken for the life of the JVM, so they are touched only once its library has been found.
 */
public final class Libcuda {
    private Libcuda() {}

    /** One device as the driver describes it; {@code capability} is the compute capability times ten. */
    public record DeviceInfo(int ordinal, String name, long totalBytes, int capability, int multiprocessors) {}

    /** What the driver answers. */
    public sealed interface Answer {
        /** @param driverVersion 13000 for CUDA 13.0 */
        record Devices(int driverVersion, List<DeviceInfo> devices) implements Answer {}

        record Missing(String library) implements Answer {}

        /** JCuda's native half does not load; {@code problem} is one line. */
        record Broken(String problem) implements Answer {}

        record Failed(String call, int code) implements Answer {}
    }

    /** The driver library's file name on this system. */
    public static String name() {
        return System.getProperty("os.name").toLowerCase(Locale.ROOT).startsWith("windows")
                ? "nvcuda.dll"
                : "libcuda.so.1";
    }

    /** Asks the library of that name. */
    public static Answer ask(String library) {
        try {
            SymbolLookup.libraryLookup(library, Arena.global());
        } catch (IllegalArgumentException e) {
            return new Answer.Missing(library);
        }
        String problem = Natives.problem();
        if (problem != null) {
            return new Answer.Broken(problem);
        }
        int code = JCudaDriver.cuInit(0);
        if (code != 0) {
            return new Answer.Failed("cuInit", code);
        }
        int[] version = new int[1];
        code = JCudaDriver.cuDriverGetVersion(version);
        if (code != 0) {
            return new Answer.Failed("cuDriverGetVersion", code);
        }
        int[] count = new int[1];
        code = JCudaDriver.cuDeviceGetCount(count);
        if (code != 0) {
            return new Answer.Failed("cuDeviceGetCount", code);
        }
        List<DeviceInfo> devices = new ArrayList<>();
        for (int i = 0; i < count[0]; i++) {
            devices.add(device(i));
        }
        return new Answer.Devices(version[0], devices);
    }

    /** What it does not say is 0, which makes it a device that cannot be used. */
    private static DeviceInfo device(int ordinal) {
        CUdevice device = new CUdevice();
        if (JCudaDriver.cuDeviceGet(device, ordinal) != 0) {
            return new DeviceInfo(ordinal, "CUDA device " + ordinal, 0, 0, 0);
        }
        byte[] text = new byte[256];
        boolean named = JCudaDriver.cuDeviceGetName(text, text.length, device) == 0;
        long[] bytes = new long[1];
        boolean sized = JCudaDriver.cuDeviceTotalMem(bytes, device) == 0;
        int capability = 10 * attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)
                + attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
        return new DeviceInfo(
                ordinal,
                named ? new String(text, StandardCharsets.UTF_8).split("\0", 2)[0].strip() : "CUDA device " + ordinal,
                sized ? bytes[0] : 0,
                capability,
                attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device));
    }

    private static int attribute(int attribute, CUdevice device) {
        int[] value = new int[1];
        return JCudaDriver.cuDeviceGetAttribute(value, attribute, device) == 0 ? value[0] : 0;
    }
}
