package dev.millrace.models.checkpoint;

import java.nio.file.Path;
import java.util.Map;

/** A GGUF file: metadata describes architecture and tokenizer, tensors carry ggml's names. */
public final class GgufCheckpoint implements Checkpoint {
    private final MappedFile file;
    private final GgufReader content;

    private GgufCheckpoint(MappedFile file) {
        this.file = file;
        this.content = new GgufReader(file);
        int parts = content.metadata.findInteger("split.count").orElse(0);
        if (parts > 1) {
            throw Bad.file(file.path(), "is one of " + parts + " parts of a split GGUF file, which are not read:"
                    + " join them with llama-gguf-split --merge");
        }
    }

    /** Maps and checks a file. */
    public static GgufCheckpoint open(Path path) {
        MappedFile file = MappedFile.open(path);
        try {
            return new GgufCheckpoint(file);
        } catch (RuntimeException | Error e) {
            file.close();
            throw e;
        }
    }

    @Override
    public Path path() {
        return file.path();
    }

    public GgufMetadata metadata() {
        return content.metadata;
    }

    @Override
    public Map<String, Tensor> tensors() {
        return content.tensors;
    }

    @Override
    public void close() {
        file.close();
    }
}
