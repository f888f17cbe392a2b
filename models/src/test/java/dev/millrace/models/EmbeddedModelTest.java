package dev.millrace.models;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The library's copy, as it is unpacked from a jar. */
class EmbeddedModelTest {
    @TempDir
    private Path cache;

    private String before;

    @BeforeEach
    void useAnEmptyCache() {
        before = System.setProperty("millrace.cache", cache.toString());
    }

    @AfterEach
    void restore() {
        if (before == null) {
            System.clearProperty("millrace.cache");
        } else {
            System.setProperty("millrace.cache", before);
        }
    }

    @Test
    void isUnpackedOnceAndLoads() throws IOException {
        Path first = EmbeddedModel.unpacked();
        var written = Files.getLastModifiedTime(first.resolve("model.safetensors"));
        Path second = EmbeddedModel.unpacked();

        assertThat(second).isEqualTo(first).startsWith(cache);
        assertThat(Files.getLastModifiedTime(first.resolve("model.safetensors"))).isEqualTo(written);
        try (Stream<Path> files = Files.list(first)) {
            assertThat(files).hasSize(5).noneMatch(file -> file.toString().endsWith(".partial"));
        }
        try (Model model = Model.load(first)) {
            assertThat(model.config().hidden()).isEqualTo(256);
        }
    }

    @Test
    void aTruncatedFileInTheCacheIsReplaced() throws IOException {
        Path tensors = EmbeddedModel.unpacked().resolve("model.safetensors");
        long whole = Files.size(tensors);
        Files.write(tensors, new byte[1000]);

        EmbeddedModel.unpacked();

        assertThat(Files.size(tensors)).isEqualTo(whole);
    }
}
