package dev.millrace.cuda;

import dev.millrace.cuda.driver.Gpu;
import dev.millrace.cuda.driver.GpuEvent;
import dev.millrace.cuda.driver.GpuStream;
import dev.millrace.cuda.driver.PinnedBuffer;
import java.lang.foreign.MemorySegment;

/** Brings rows of float32 back, through page-locked memory in two halves: one travels while the host empties the other. */
final class Download implements AutoCloseable {
    private static final int HALVES = 2;
    private static final long HALF_BYTES = 4L << 20;

    private final GpuStream stream;
    private final PinnedBuffer[] pinned = new PinnedBuffer[HALVES];
    private final GpuEvent[] done = new GpuEvent[HALVES];
    private final long rowBytes;
    private final long width;
    private final long rowsAtOnce;

    /** @param width elements of a row, of the {@link Activations#ld} that it takes on the device */
    Download(Gpu gpu, GpuStream stream, int width) {
        this.stream = stream;
        this.width = 4L * width;
        this.rowBytes = 4L * Activations.ld(width);
        this.rowsAtOnce = Math.max(1, HALF_BYTES / rowBytes);
        try (Rollback rollback = new Rollback()) {
            for (int i = 0; i < HALVES; i++) {
                PinnedBuffer buffer = gpu.pin(rowsAtOnce * rowBytes);
                pinned[i] = rollback.add(buffer, buffer::close);
                GpuEvent event = gpu.event();
                done[i] = rollback.add(event, event::close);
            }
            rollback.keep();
        }
    }

    /**
     * Copies {@code count} rows at {@code device} to {@code target} from {@code at}, tightly, and waits.
     *
     * @return bytes brought over
     */
    long rows(long device, int count, MemorySegment target, long at) {
        long fetched = 0;
        for (long piece = 0; fetched < count; piece++) {
            long from = Math.min(count, piece * rowsAtOnce);
            if (from < count) {
                int half = (int) (piece % HALVES);
                long rows = Math.min(rowsAtOnce, count - from);
                stream.download(device + from * rowBytes, pinned[half].segment(), rows * rowBytes);
                stream.mark(done[half]);
            }
            if (piece > 0) {
                fetched += empty(piece - 1, count, target, at);
            }
        }
        return count * rowBytes;
    }

    private long empty(long piece, int count, MemorySegment target, long at) {
        int half = (int) (piece % HALVES);
        long from = piece * rowsAtOnce;
        long rows = Math.min(rowsAtOnce, count - from);
        done[half].await();
        for (long r = 0; r < rows; r++) {
            MemorySegment.copy(pinned[half].segment(), r * rowBytes, target, at + (from + r) * width, width);
        }
        return rows;
    }

    @Override
    public void close() {
        for (int i = 0; i < HALVES; i++) {
            done[i].close();
            pinned[i].close();
        }
    }
}
