package dev.millrace.models.cli;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** What the C library knows of standard error; {@link System#console} only knows of input and output. */
final class StandardError {
    private static final int DESCRIPTOR = 2;
    private static final int COLUMNS = 80;
    /** TIOCGWINSZ of Linux; struct winsize: rows, columns, two more, 16 bits each. */
    private static final long GET_WINDOW_SIZE = 0x5413;

    private StandardError() {}

    /** Whether a person reads it; false where that cannot be told. */
    static boolean isTerminal() {
        Linker linker = Linker.nativeLinker();
        return linker.defaultLookup().find("isatty").map(isatty -> {
            try {
                return (int) linker.downcallHandle(
                                isatty, FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT))
                        .invokeExact(DESCRIPTOR) == 1;
            } catch (Throwable e) {
                throw new IllegalStateException(e);
            }
        }).orElse(false);
    }

    /** The terminal's width; {@value #COLUMNS} where that cannot be told. */
    static int columns() {
        Linker linker = Linker.nativeLinker();
        MemorySegment ioctl = linker.defaultLookup().find("ioctl").orElse(null);
        if (ioctl == null || !System.getProperty("os.name").equals("Linux")) {
            return COLUMNS;
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment size = arena.allocate(ValueLayout.JAVA_SHORT, 4);
            int failed = (int) linker.downcallHandle(
                            ioctl,
                            FunctionDescriptor.of(
                                    ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS),
                            Linker.Option.firstVariadicArg(2))
                    .invokeExact(DESCRIPTOR, GET_WINDOW_SIZE, size);
            int columns = size.getAtIndex(ValueLayout.JAVA_SHORT, 1);
            return failed == 0 && columns > 0 ? columns : COLUMNS;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
