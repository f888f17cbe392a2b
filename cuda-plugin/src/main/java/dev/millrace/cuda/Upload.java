package dev.millrace.cuda;

import dev.millrace.core.executor.CompileOptions.Progress;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.cuda.driver.DeviceBuffer;
import dev.millrace.cuda.driver.Geometry;
import dev.millrace.cuda.driver.Gpu;
import dev.millrace.cuda.driver.GpuEvent;
import dev.millrace.cuda.driver.GpuStream;
import dev.millrace.cuda.driver.Kernel;
import dev.millrace.cuda.driver.PinnedBuffer;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.IntStream;

/**
 * Brings weights to the device: rows as the checkpoint has them go through page-locked memory, two pieces in turn so
 * that the host fills one while the other travels, and a kernel puts them into the layout the others read.
 */
final class Upload implements AutoCloseable {
    private static final int PIECES = 2;
    private static final long PIECE_BYTES = 8L << 20;
    private static final long SHARE_BYTES = 256L << 10;

    private final GpuStream stream;
    private final Kernel repack;
    private final PinnedBuffer[] pinned = new PinnedBuffer[PIECES];
    private final DeviceBuffer[] raw = new DeviceBuffer[PIECES];
    private final GpuEvent[] done = new GpuEvent[PIECES];
    private final long pieceBytes;
    private int turn;
    private final Progress progress;
    private final long all;
    private long uploaded;

    Upload(Gpu gpu, GpuStream stream, Kernel repack, WeightLayout layout, Progress progress) {
        this.progress = progress;
        this.all = layout.copies().stream().mapToLong(c -> sourceBytes(c.source())).sum()
                + layout.constants().stream().mapToLong(c -> c.bytes().byteSize()).sum();
        this.stream = stream;
        this.repack = repack;
        long longest = layout.constants().stream().mapToLong(c -> c.bytes().byteSize()).max().orElse(0);
        for (WeightLayout.Copy copy : layout.copies()) {
            longest = Math.max(longest, sourceFormat(copy.source()).rowBytes(copy.source().shape().columns()));
        }
        long most = layout.copies().stream().mapToLong(c -> sourceBytes(c.source())).max().orElse(0);
        pieceBytes = Math.max(longest, Math.min(PIECE_BYTES, most));
        try {
            for (int i = 0; i < PIECES; i++) {
                pinned[i] = gpu.pin(pieceBytes);
                raw[i] = gpu.allocate(pieceBytes, "staging of weights");
                done[i] = gpu.event();
            }
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /** Bytes of device memory that an upload takes for its own use, at most. */
    static long stagingBytes() {
        return PIECES * PIECE_BYTES;
    }

    /** Writes everything in {@code layout} to the device memory at {@code base} and waits for it. */
    void run(WeightLayout layout, long base) {
        stream.clear(base, layout.bytes());
        for (WeightLayout.Copy copy : layout.copies()) {
            matrix(copy, base);
        }
        for (WeightLayout.Constant constant : layout.constants()) {
            MemorySegment piece = nextPiece();
            MemorySegment.copy(constant.bytes(), 0, piece, 0, constant.bytes().byteSize());
            stream.upload(piece, base + constant.offset(), constant.bytes().byteSize());
            uploaded += constant.bytes().byteSize();
            pieceSent();
        }
        stream.await();
    }

    /** Bytes that went to the device. */
    long uploadedBytes() {
        return uploaded;
    }

    private void matrix(WeightLayout.Copy copy, long base) {
        Weight source = copy.source();
        WeightFormat format = sourceFormat(source);
        long rowBytes = format.rowBytes(source.shape().columns());
        long rowsAtOnce = Math.max(1, pieceBytes / rowBytes);
        Matrix target = copy.target();
        for (long row = 0; row < source.shape().rows(); row += rowsAtOnce) {
            int rows = (int) Math.min(rowsAtOnce, source.shape().rows() - row);
            MemorySegment piece = nextPiece().asSlice(0, rows * rowBytes);
            fill(source, format, row, rows, piece);
            long staging = raw[turn].address();
            stream.upload(piece, staging, piece.byteSize());
            stream.arguments()
                    .begin()
                    .put(staging)
                    .put(base + target.data())
                    .put(base + target.scales())
                    .put(rows)
                    .put(target.columns())
                    .put(target.ld())
                    .put(target.format().code())
                    .put((int) (copy.rowOffset() + row * copy.rowStep()))
                    .put(copy.rowStep())
                    .put(Format.of(format).code())
                    .put(0)
                    .put(0L);
            stream.launch(repack, Geometry.of(rows, 256));
            uploaded += piece.byteSize();
            pieceSent();
        }
    }

    private static long sourceBytes(Weight weight) {
        return sourceFormat(weight).rowBytes(weight.shape().columns()) * weight.shape().rows();
    }

    /** The format in which rows travel: their own, or float32 for formats that only tables have. */
    private static WeightFormat sourceFormat(Weight weight) {
        return Format.supported().contains(weight.format()) ? weight.format() : WeightFormat.F32;
    }

    /** Reads rows with as many threads as there are: a mapped file, or a view that computes, keeps each of them busy. */
    private static void fill(Weight source, WeightFormat format, long start, int rows, MemorySegment piece) {
        long rowBytes = piece.byteSize() / rows;
        int share = Math.clamp(SHARE_BYTES / rowBytes, 1, rows);
        IntStream.range(0, Math.ceilDiv(rows, share)).parallel().forEach(i -> {
            int from = i * share;
            int count = Math.min(share, rows - from);
            MemorySegment part = piece.asSlice(from * rowBytes, count * rowBytes);
            if (format == source.format()) {
                source.copyRows(start + from, count, part);
            } else {
                int columns = Math.toIntExact(source.shape().columns());
                float[] decoded = new float[columns];
                for (int r = 0; r < count; r++) {
                    source.decodeRows(start + from + r, 1, decoded, 0);
                    MemorySegment.copy(decoded, 0, part, ValueLayout.JAVA_FLOAT, r * rowBytes, columns);
                }
            }
        });
    }

    private MemorySegment nextPiece() {
        done[turn].await();
        return pinned[turn].segment();
    }

    private void pieceSent() {
        stream.mark(done[turn]);
        turn = (turn + 1) % PIECES;
        progress.at(uploaded, all);
    }

    @Override
    public void close() {
        for (int i = 0; i < PIECES; i++) {
            if (done[i] != null) {
                done[i].close();
            }
            if (raw[i] != null) {
                raw[i].close();
            }
            if (pinned[i] != null) {
                pinned[i].close();
            }
        }
    }
}
