package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Weight;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;

/**
 * A model on disk: named tensors, and what describes them, which is a config.json ({@link HuggingFaceCheckpoint}) or GGUF
 * metadata ({@link GgufCheckpoint}). Opening maps and checks files and reads no tensor; weights read from the mapping
 * when an executor asks for rows, so the checkpoint must stay open while its weights are in use.
 */
public sealed interface Checkpoint extends AutoCloseable permits HuggingFaceCheckpoint, GgufCheckpoint {
    /** The directory or file that was opened. */
    Path path();

    /** All tensors by name, in file order. */
    Map<String, Tensor> tensors();

    default boolean has(String name) {
        return tensors().containsKey(name);
    }

    default Collection<String> names() {
        return tensors().keySet();
    }

    /**
     * The tensor of that name.
     *
     * @throws MillraceException naming the checkpoint and the tensor when there is none
     */
    default Tensor tensor(String name) {
        Tensor tensor = tensors().get(name);
        if (tensor == null) {
            throw new MillraceException(path() + ": no tensor " + name + " among its " + tensors().size());
        }
        return tensor;
    }

    /** The tensor of that name as a weight; see {@link Tensor#weight}. */
    default Weight weight(String name) {
        return tensor(name).weight();
    }

    /** Bytes of all tensors. */
    default long bytes() {
        return tensors().values().stream().mapToLong(t -> t.data().byteSize()).sum();
    }

    @Override
    void close();

    /**
     * Opens a .gguf file, a .safetensors file with its config.json beside it, or a directory that holds either.
     *
     * @throws MillraceException naming the file and what is wrong or missing
     */
    static Checkpoint open(Path path) {
        String name = String.valueOf(path.getFileName()).toLowerCase(Locale.ROOT);
        if (Files.isDirectory(path)) {
            List<Path> ggufs = list(path, ".gguf");
            if (Files.exists(path.resolve("config.json")) || ggufs.isEmpty()) {
                return HuggingFaceCheckpoint.open(path);
            }
            if (ggufs.size() > 1) {
                throw new MillraceException(path + " holds " + ggufs.size() + " GGUF files: name one of them");
            }
            return GgufCheckpoint.open(ggufs.getFirst());
        }
        if (!Files.exists(path)) {
            throw new MillraceException(path + ": no such file or directory");
        }
        if (name.endsWith(".gguf")) {
            return GgufCheckpoint.open(path);
        }
        if (name.endsWith(".safetensors")) {
            return HuggingFaceCheckpoint.open(path);
        }
        throw new MillraceException(path + ": a directory with config.json, a .safetensors or a .gguf file was expected");
    }

    /** The files of a directory whose names end so, sorted. */
    private static List<Path> list(Path directory, String end) {
        try (Stream<Path> files = Files.list(directory)) {
            return files.filter(f -> f.getFileName().toString().toLowerCase(Locale.ROOT).endsWith(end))
                    .sorted()
                    .toList();
        } catch (IOException e) {
            throw new MillraceException(directory + ": cannot be listed: " + e.getMessage(), e);
        }
    }
}
