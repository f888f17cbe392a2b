package dev.millrace.cuda.driver;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * What the driver library itself says about the devices, asked through java.lang.foreign. JCuda's classes throw from
 * their static initialisers where there is no driver and stay broken for the life of the JVM; this asks before they are
 * touched.
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

        record Failed(String call, int code) implements Answer {}
    }

    /** The driver library's file name on this system. */
    public static String name() {
        return System.getProperty("os.name").toLowerCase(Locale.ROOT).startsWith("windows")
                ? "nvcuda.dll"
                : "libcuda.so.1";
    }

    /** Asks the library of that name. */
    public static Answer ask(String library) throws Throwable {
        try (Arena arena = Arena.ofConfined()) {
            SymbolLookup symbols;
            try {
                symbols = SymbolLookup.libraryLookup(library, Arena.global());
            } catch (IllegalArgumentException e) {
                return new Answer.Missing(library);
            }
            Calls calls = new Calls(symbols, arena);
            int code = calls.init();
            if (code != 0) {
                return new Answer.Failed("cuInit", code);
            }
            return calls.devices();
        }
    }

    private record Calls(SymbolLookup symbols, Arena arena) {
        private static final MemoryLayout INT = ValueLayout.JAVA_INT;
        private static final MemoryLayout POINTER = ValueLayout.ADDRESS;
        private static final int MULTIPROCESSORS = 16;
        private static final int CAPABILITY_MAJOR = 75;
        private static final int CAPABILITY_MINOR = 76;

        int init() throws Throwable {
            return (int) Linker.nativeLinker()
                    .downcallHandle(symbols.findOrThrow("cuInit"), FunctionDescriptor.of(ValueLayout.JAVA_INT, INT))
                    .invokeExact(0);
        }

        Answer devices() throws Throwable {
            MemorySegment value = arena.allocate(8, 8);
            int code = call("cuDriverGetVersion", value);
            if (code != 0) {
                return new Answer.Failed("cuDriverGetVersion", code);
            }
            int version = value.get(ValueLayout.JAVA_INT, 0);
            code = call("cuDeviceGetCount", value);
            if (code != 0) {
                return new Answer.Failed("cuDeviceGetCount", code);
            }
            int count = value.get(ValueLayout.JAVA_INT, 0);
            List<DeviceInfo> devices = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                devices.add(device(i, value));
            }
            return new Answer.Devices(version, devices);
        }

        private DeviceInfo device(int ordinal, MemorySegment value) throws Throwable {
            MemorySegment text = arena.allocate(256);
            int named = (int) Linker.nativeLinker()
                    .downcallHandle(
                            symbols.findOrThrow("cuDeviceGetName"),
                            FunctionDescriptor.of(ValueLayout.JAVA_INT, POINTER, INT, INT))
                    .invokeExact(text, 255, ordinal);
            value.set(ValueLayout.JAVA_LONG, 0, 0);
            int sized = (int) Linker.nativeLinker()
                    .downcallHandle(
                            symbols.findOrThrow("cuDeviceTotalMem_v2"),
                            FunctionDescriptor.of(ValueLayout.JAVA_INT, POINTER, INT))
                    .invokeExact(value, ordinal);
            long bytes = sized == 0 ? value.get(ValueLayout.JAVA_LONG, 0) : 0;
            int capability = 10 * attribute(CAPABILITY_MAJOR, ordinal, value)
                    + attribute(CAPABILITY_MINOR, ordinal, value);
            return new DeviceInfo(
                    ordinal,
                    named == 0 ? text.getString(0).strip() : "CUDA device " + ordinal,
                    bytes,
                    capability,
                    attribute(MULTIPROCESSORS, ordinal, value));
        }

        private int attribute(int attribute, int ordinal, MemorySegment value) throws Throwable {
            value.set(ValueLayout.JAVA_INT, 0, 0);
            int code = (int) Linker.nativeLinker()
                    .downcallHandle(
                            symbols.findOrThrow("cuDeviceGetAttribute"),
                            FunctionDescriptor.of(ValueLayout.JAVA_INT, POINTER, INT, INT))
                    .invokeExact(value, attribute, ordinal);
            return code == 0 ? value.get(ValueLayout.JAVA_INT, 0) : 0;
        }

        private int call(String function, MemorySegment out) throws Throwable {
            return (int) Linker.nativeLinker()
                    .downcallHandle(
                            symbols.findOrThrow(function), FunctionDescriptor.of(ValueLayout.JAVA_INT, POINTER))
                    .invokeExact(out);
        }
    }
}
