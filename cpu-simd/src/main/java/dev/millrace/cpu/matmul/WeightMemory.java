package dev.millrace.cpu.matmul;

import dev.millrace.core.MillraceException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/**
 * Native memory for weights, freed as a whole. On Linux it lies in huge pages where the kernel grants them: walking
 * the page table of 4 KiB pages costs a quarter of the bandwidth of a core here. Elsewhere it is plain memory.
 *
 * <p>Not for use by several threads at once.
 */
public final class WeightMemory implements AutoCloseable {
    private static final long HUGE_PAGE = 2L << 20;
    private static final long SLAB = 64L << 20;
    private static final long ALIGNMENT = 64;
    private static final int PROT_READ_WRITE = 3;
    private static final int MAP_PRIVATE_ANONYMOUS_NORESERVE = 0x4022;
    private static final int MADV_HUGEPAGE = 14;

    private static final Optional<Mapping> MAPPING = Mapping.find();

    private final Arena arena = Arena.ofShared();
    private MemorySegment slab = MemorySegment.NULL;
    private long used;
    private long allocated;

    /** Links the system calls, on the caller's thread, for those who can do it early. */
    public static void prepare() {
        new WeightMemory().close();
    }

    /** Memory of {@code bytes} bytes that starts on a cache line; its contents are zero. */
    public MemorySegment allocate(long bytes) {
        long size = Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT;
        if (size > slab.byteSize() - used) {
            slab = reserve(Math.max(size, SLAB));
            used = 0;
        }
        MemorySegment part = slab.asSlice(used, bytes, ALIGNMENT);
        used += size;
        allocated += size;
        return part;
    }

    /** Bytes handed out. */
    public long bytes() {
        return allocated;
    }

    @Override
    public void close() {
        arena.close();
    }

    private MemorySegment reserve(long bytes) {
        return MAPPING.isPresent() ? MAPPING.get().map(bytes, arena) : arena.allocate(bytes, ALIGNMENT);
    }

    /** The three system calls. */
    private record Mapping(MethodHandle mmap, MethodHandle munmap, MethodHandle madvise) {
        static Optional<Mapping> find() {
            if (!System.getProperty("os.name").equals("Linux")) {
                return Optional.empty();
            }
            Linker linker = Linker.nativeLinker();
            SymbolLookup libc = linker.defaultLookup();
            var pointer = ValueLayout.ADDRESS;
            var size = ValueLayout.JAVA_LONG;
            var number = ValueLayout.JAVA_INT;
            return Optional.of(new Mapping(
                    linker.downcallHandle(
                            libc.findOrThrow("mmap"),
                            FunctionDescriptor.of(pointer, pointer, size, number, number, number, size)),
                    linker.downcallHandle(libc.findOrThrow("munmap"), FunctionDescriptor.of(number, pointer, size)),
                    linker.downcallHandle(
                            libc.findOrThrow("madvise"), FunctionDescriptor.of(number, pointer, size, number))));
        }

        /** Untouched pages of the mapping take no memory; alignment to a huge page is cut out of a larger mapping. */
        MemorySegment map(long bytes, Arena arena) {
            long mapped = Math.ceilDiv(bytes, HUGE_PAGE) * HUGE_PAGE + HUGE_PAGE;
            try {
                MemorySegment raw = (MemorySegment) mmap.invokeExact(
                        MemorySegment.NULL, mapped, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1, 0L);
                if (raw.address() == -1) {
                    throw new MillraceException(
                            "no memory for " + bytes + " bytes of weights: use a smaller model or a smaller format");
                }
                long skip = -raw.address() & (HUGE_PAGE - 1);
                MemorySegment whole = raw.reinterpret(mapped, arena, this::unmap);
                MemorySegment slab = whole.asSlice(skip, mapped - HUGE_PAGE);
                // refused where huge pages are switched off: slower, not wrong
                int ignored = (int) madvise.invokeExact(slab, slab.byteSize(), MADV_HUGEPAGE);
                return slab;
            } catch (RuntimeException | Error e) {
                throw e;
            } catch (Throwable e) {
                throw new IllegalStateException(e);
            }
        }

        private void unmap(MemorySegment segment) {
            try {
                int ignored = (int) munmap.invokeExact(segment, segment.byteSize());
            } catch (Throwable e) {
                throw new IllegalStateException(e);
            }
        }
    }
}
