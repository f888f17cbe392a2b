package dev.millrace.cpu.matmul;

import static dev.millrace.cpu.matmul.Panel.ALL;
import static dev.millrace.cpu.matmul.Panel.ROWS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;

/**
 * Turns rows into columns of a panel. A cache line of each row is read before the next one: rows a power of two apart
 * would push each other out of the cache if they were read column by column (an eighth of the speed).
 */
final class Packing {
    private static final int LINE = 64;

    private Packing() {}

    /** {@link Panel#ROWS} rows of 32-bit elements to [column][row]. */
    static void words(MemorySegment rows, int columns, long target) {
        for (int k0 = 0; k0 < columns; k0 += LINE / 4) {
            int n = Math.min(LINE / 4, columns - k0);
            for (int r = 0; r < ROWS; r++) {
                long in = 4L * ((long) r * columns + k0);
                long out = target + 4L * ((long) k0 * ROWS + r);
                for (int i = 0; i < n; i++) {
                    ALL.set(JAVA_INT_UNALIGNED, out + 4L * ROWS * i, rows.get(JAVA_INT_UNALIGNED, in + 4L * i));
                }
            }
        }
    }

    /**
     * {@link Panel#ROWS} rows of 16-bit elements as [column][row]. Through arrays: access to memory segments is slow until
     * it is compiled, and packing comes first in a process.
     */
    static short[] turned(MemorySegment source, int columns) {
        short[] rows = new short[ROWS * columns];
        MemorySegment.copy(source, JAVA_SHORT_UNALIGNED, 0, rows, 0, rows.length);
        short[] turned = new short[rows.length];
        for (int k0 = 0; k0 < columns; k0 += LINE / 2) {
            for (int r = 0; r < ROWS; r++) {
                turn(rows, r * columns + k0, Math.min(LINE / 2, columns - k0), turned, k0 * ROWS + r);
            }
        }
        return turned;
    }

    private static void turn(short[] row, int at, int n, short[] turned, int to) {
        for (int i = 0; i < n; i++) {
            turned[to + i * ROWS] = row[at + i];
        }
    }

    /** Writes a panel of 16-bit elements. */
    static void write(short[] panel, long target) {
        MemorySegment.copy(panel, 0, ALL, JAVA_SHORT_UNALIGNED, target, panel.length);
    }

    /** 32 bytes at {@code in} down the lane at {@code lane}: to [column][row] of bytes. */
    static void bytes(MemorySegment rows, long in, long lane) {
        for (int k = 0; k < 32; k++) {
            ALL.set(JAVA_BYTE, lane + (long) k * ROWS, rows.get(JAVA_BYTE, in + k));
        }
    }

    /** Magnitude bits of the largest half among those {@code step} bytes apart. */
    static int largestHalf(MemorySegment rows, long bytes, int step) {
        short[] halves = new short[Math.toIntExact(bytes / 2)];
        MemorySegment.copy(rows, JAVA_SHORT_UNALIGNED, 0, halves, 0, halves.length);
        return largestHalf(halves, step / 2);
    }

    /** Magnitude bits of the largest half among those {@code step} elements apart. */
    static int largestHalf(short[] halves, int step) {
        int most = 0;
        for (int i = 0; i < halves.length; i += step) {
            most = Math.max(most, halves[i] & 0x7FFF);
        }
        return most;
    }
}
