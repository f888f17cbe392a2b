package dev.millrace.models;

import dev.millrace.core.MillraceException;
import dev.millrace.models.checkpoint.Checkpoint;
import dev.millrace.models.checkpoint.GgufCheckpoint;
import dev.millrace.models.checkpoint.HuggingFaceCheckpoint;
import dev.millrace.models.tokenizer.Tokenizer;
import dev.millrace.models.tokenizer.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/** A tokenizer that is opened when somebody asks, if one likes on another thread meanwhile. */
final class LazyTokenizer implements AutoCloseable {
    private final FutureTask<Tokenizer> opening;
    private boolean started;

    private LazyTokenizer(FutureTask<Tokenizer> opening) {
        this.opening = opening;
    }

    static LazyTokenizer none() {
        return new LazyTokenizer(null);
    }

    /** @param bundled whether the files come with the program and need no check */
    static LazyTokenizer of(Checkpoint checkpoint, boolean bundled) {
        return switch (checkpoint) {
            case HuggingFaceCheckpoint files when bundled -> lazy(() -> bundled(files.directory().resolve("tokenizer.json")));
            case HuggingFaceCheckpoint files when Tokenizers.isIn(files.directory()) ->
                lazy(() -> Tokenizers.ofDirectory(files.directory()));
            case HuggingFaceCheckpoint files -> none();
            // llama.cpp's files that are for token ids only say so
            case GgufCheckpoint gguf -> gguf.metadata()
                            .findString("tokenizer.ggml.model")
                            .filter(kind -> !kind.equals("no_vocab") && !kind.equals("none"))
                            .isPresent()
                    ? lazy(() -> fromMetadata(gguf))
                    : none();
        };
    }

    private static LazyTokenizer lazy(Callable<Tokenizer> open) {
        return new LazyTokenizer(new FutureTask<>(open));
    }

    private static Tokenizer fromMetadata(GgufCheckpoint gguf) {
        Map<String, Object> values = new HashMap<>();
        gguf.metadata().values().forEach((key, value) -> values.put(key, value.value()));
        return Tokenizers.ofGguf(values, gguf.path().toString());
    }

    private static Tokenizer bundled(Path file) throws IOException {
        return Tokenizers.ofBundledJson(Files.readAllBytes(file), file.toString());
    }

    boolean exists() {
        return opening != null;
    }

    synchronized void prepare() {
        if (exists() && !started) {
            started = true;
            Thread.ofPlatform().daemon().name("tokenizer").start(opening);
        }
    }

    Tokenizer get() {
        synchronized (this) {
            if (!started) {
                started = true;
                opening.run();
            }
        }
        try {
            return opening.get();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof MillraceException known) {
                throw known;
            }
            throw new MillraceException("the tokenizer cannot be opened: " + e.getCause(), e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new MillraceException("interrupted while the tokenizer was opened", e);
        }
    }

    @Override
    public synchronized void close() {
        if (started) {
            try {
                opening.get().close();
            } catch (ExecutionException e) {
                // it never opened: nothing to free, and whoever needed it was told
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
