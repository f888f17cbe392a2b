package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** A whole file as memory, read-only: mapped, or read where the file lies inside an archive. Closing unmaps it. */
final class MappedFile implements AutoCloseable {
    private final Path path;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment segment;

    private MappedFile(Path path) throws IOException {
        this.path = path;
        try {
            this.segment = (path.getFileSystem() == FileSystems.getDefault() ? map() : load()).asReadOnly();
        } catch (IOException | RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    static MappedFile open(Path path) {
        try {
            if (Files.isDirectory(path)) {
                throw new MillraceException(path + " is a directory where a file was expected");
            }
            if (Files.exists(path) && !Files.isRegularFile(path)) {
                throw new MillraceException(path + " is not a regular file");
            }
            return new MappedFile(path);
        } catch (NoSuchFileException e) {
            throw new MillraceException(path + ": no such file", e);
        } catch (IOException e) {
            throw new MillraceException(path + ": cannot be read: " + e.getMessage(), e);
        }
    }

    private MemorySegment map() throws IOException {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            return channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
        }
    }

    private MemorySegment load() throws IOException {
        try (SeekableByteChannel channel = Files.newByteChannel(path)) {
            MemorySegment memory = arena.allocate(channel.size());
            long done = 0;
            while (done < memory.byteSize()) {
                long some = Math.min(memory.byteSize() - done, 1 << 30);
                ByteBuffer buffer = memory.asSlice(done, some).asByteBuffer();
                int read = channel.read(buffer);
                if (read < 0) {
                    throw new IOException("ends after " + done + " of " + memory.byteSize() + " bytes");
                }
                done += read;
            }
            return memory;
        }
    }

    Path path() {
        return path;
    }

    MemorySegment segment() {
        return segment;
    }

    long size() {
        return segment.byteSize();
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
