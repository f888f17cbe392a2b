package dev.millrace.cuda.driver;

import dev.millrace.core.MillraceException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Collections;

/**
 * {@code cuLaunchKernelEx}, which JCuda 12.6 lacks, through java.lang.foreign in the same context: a launch that may
 * start while the kernel before it on the stream is still running (programmatic dependent launch, compute capability
 * 9.0), and whose blocks may form clusters. The kernel itself waits, with {@code griddepcontrol.wait}, before it touches
 * what came before.
 *
 * <p>Layouts are those of {@code CUlaunchConfig} (56 bytes) and {@code CUlaunchAttribute} (72 bytes) in cuda.h.
 */
final class LaunchEx {
    private static final int CLUSTER_DIMENSION = 4;
    private static final int PROGRAMMATIC_STREAM_SERIALIZATION = 6;
    private static final int ATTRIBUTE_BYTES = 72;
    private static final MethodHandle CALL = find("cuLaunchKernelEx", 4);
    private static final MethodHandle CLUSTERS = find("cuOccupancyMaxActiveClusters", 3);

    private final MemorySegment config;
    private final MemorySegment attributes;

    /** @param arena owns the configuration block of this stream */
    LaunchEx(Arena arena, long stream) {
        attributes = arena.allocate(2 * ATTRIBUTE_BYTES, 8);
        attributes.set(ValueLayout.JAVA_INT, 0, PROGRAMMATIC_STREAM_SERIALIZATION);
        attributes.set(ValueLayout.JAVA_INT, 8, 1);
        attributes.set(ValueLayout.JAVA_INT, ATTRIBUTE_BYTES, CLUSTER_DIMENSION);
        attributes.set(ValueLayout.JAVA_INT, ATTRIBUTE_BYTES + 8, 1);
        attributes.set(ValueLayout.JAVA_INT, ATTRIBUTE_BYTES + 12, 1);
        config = arena.allocate(56, 8);
        config.set(ValueLayout.JAVA_LONG, 32, stream);
        config.set(ValueLayout.ADDRESS, 40, attributes);
    }

    /** How many clusters of a launch the device runs at once; 0 where the driver cannot say. */
    static int clusters(long function, Geometry g) {
        if (CLUSTERS == null) {
            return 0;
        }
        try (Arena arena = Arena.ofConfined()) {
            LaunchEx query = new LaunchEx(arena, 0);
            query.describe(g);
            MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
            int code = (int) CLUSTERS.invokeExact(count, MemorySegment.ofAddress(function), query.config);
            return code == 0 ? count.get(ValueLayout.JAVA_INT, 0) : 0;
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new MillraceException("CUDA: cuOccupancyMaxActiveClusters could not be called: " + e, e);
        }
    }

    /** Links the call on a thread of its own, which takes a tenth of a second of a start. */
    static void prepare() {
        Thread.ofPlatform().daemon().name("cuda launch").start(LaunchEx::available);
    }

    static boolean available() {
        return CALL != null;
    }

    private void describe(Geometry g) {
        config.set(ValueLayout.JAVA_INT, 0, g.gridX());
        config.set(ValueLayout.JAVA_INT, 4, g.gridY());
        config.set(ValueLayout.JAVA_INT, 8, g.gridZ());
        config.set(ValueLayout.JAVA_INT, 12, g.block());
        config.set(ValueLayout.JAVA_INT, 16, 1);
        config.set(ValueLayout.JAVA_INT, 20, 1);
        config.set(ValueLayout.JAVA_INT, 24, g.sharedBytes());
        attributes.set(ValueLayout.JAVA_INT, ATTRIBUTE_BYTES + 16, g.cluster());
        config.set(ValueLayout.JAVA_INT, 48, g.cluster() > 1 ? 2 : 1);
    }

    int launch(long function, Geometry g, MemorySegment parameters) {
        describe(g);
        try {
            return (int) CALL.invokeExact(config, MemorySegment.ofAddress(function), parameters, MemorySegment.NULL);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new MillraceException("CUDA: cuLaunchKernelEx could not be called: " + e, e);
        }
    }

    /** A call that takes so many pointers; null where the driver has none of that name. */
    private static MethodHandle find(String name, int pointers) {
        MemoryLayout[] parameters = Collections.nCopies(pointers, ValueLayout.ADDRESS).toArray(MemoryLayout[]::new);
        return SymbolLookup.libraryLookup(Libcuda.name(), Arena.global())
                .find(name)
                .map(symbol -> Linker.nativeLinker()
                        .downcallHandle(symbol, FunctionDescriptor.of(ValueLayout.JAVA_INT, parameters)))
                .orElse(null);
    }
}
