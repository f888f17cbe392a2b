package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Weight;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.stream.IntStream;

/** Where writers put bytes and rows of weights, one after another. */
final class RowSink {
    private static final long CHUNK = 4 << 20;

    private final FileChannel channel;
    private long position;

    private RowSink(FileChannel channel) {
        this.channel = channel;
    }

    /** What is written to a sink. */
    interface Content {
        void write(RowSink sink) throws IOException;
    }

    /** Writes beside {@code path} first and moves the complete file there, so that a failure leaves no half of one. */
    static void toFile(Path path, Content content) {
        Path part = path.resolveSibling(path.getFileName() + ".part");
        try {
            if (Files.isDirectory(path)) {
                throw new MillraceException(path + " is a directory where a file is to be written");
            }
            if (Files.exists(path) && !Files.isRegularFile(path)) {
                // the move would put a file in place of the device or pipe
                throw new MillraceException(path + " is no regular file: name a new file");
            }
            try (FileChannel channel = FileChannel.open(
                    part, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE)) {
                content.write(new RowSink(channel));
            } catch (IOException | RuntimeException | Error e) {
                Files.deleteIfExists(part);
                throw e;
            }
            Files.move(part, path, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            throw new MillraceException(path + ": cannot be written: " + e, e);
        }
    }

    long position() {
        return position;
    }

    void bytes(MemorySegment data) throws IOException {
        for (long done = 0; done < data.byteSize(); done += CHUNK) {
            put(data.asSlice(done, Math.min(CHUNK, data.byteSize() - done)).asByteBuffer());
        }
    }

    /** Zeros up to a multiple of {@code alignment}. */
    void align(long alignment) throws IOException {
        put(ByteBuffer.allocate((int) (-position & alignment - 1)));
    }

    /** Rows are converted by all cores, a chunk each, and written in order. */
    void rows(Weight weight) throws IOException {
        long rows = weight.shape().rows();
        long rowBytes = weight.bytes() / rows;
        long step = Math.clamp(CHUNK / rowBytes, 1, rows);
        long chunks = Math.ceilDiv(rows, step);
        int workers = (int) Math.min(chunks, Runtime.getRuntime().availableProcessors());
        try (Arena arena = Arena.ofShared()) {
            MemorySegment room = arena.allocate(workers * step * rowBytes);
            for (long chunk = 0; chunk < chunks; chunk += workers) {
                long first = chunk * step;
                long some = Math.min(rows - first, workers * step);
                IntStream.range(0, workers).parallel().forEach(worker -> {
                    long from = worker * step;
                    long count = Math.min(step, some - from);
                    if (count > 0) {
                        weight.copyRows(first + from, count, room.asSlice(from * rowBytes, count * rowBytes));
                    }
                });
                put(room.asSlice(0, some * rowBytes).asByteBuffer());
            }
        }
    }

    private void put(ByteBuffer buffer) throws IOException {
        position += buffer.remaining();
        while (buffer.hasRemaining()) {
            channel.write(buffer);
        }
    }
}
