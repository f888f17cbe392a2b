package dev.millrace.models.tokenizer;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import dev.millrace.core.MillraceException;
import dev.millrace.models.CacheDirectory;
import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Locale;

/**
 * Loads the native half of the tokenizers jar, once per process and safely from any thread.
 *
 * <p>The library (15 MB) is unpacked on first use to {@code tokenizers-CHECKSUM} in the {@link
 * CacheDirectory}, written under another name and moved, so that a half-written file is never
 * loaded; later starts only check its size. Where that directory cannot be written, a private
 * temporary directory serves this process alone. Nothing is ever downloaded.
 */
final class NativeLibrary {
    private NativeLibrary() {}

    private static final class Holder {
        static final MillraceException FAILURE = load();
    }

    static TokenizersLibrary tokenizers() {
        if (Holder.FAILURE != null) {
            throw new MillraceException(Holder.FAILURE.getMessage(), Holder.FAILURE);
        }
        return TokenizersLibrary.LIB;
    }

    private static MillraceException load() {
        String platform = platform();
        Path file = null;
        try {
            for (String name : fileNames(platform)) {
                URL packed =
                        TokenizersLibrary.class.getResource(
                                "/native/lib/" + platform + "/cpu/" + name);
                if (packed == null) {
                    return new MillraceException(
                            "no tokenizer library for this platform ("
                                    + platform
                                    + "): pass token ids with --ids instead of text");
                }
                file = unpacked(packed, name);
                System.load(file.toAbsolutePath().toString());
            }
            return null;
        } catch (IOException | UnsatisfiedLinkError e) {
            return new MillraceException(
                    "the tokenizer library "
                            + (file == null ? "" : file + " ")
                            + "cannot be loaded: "
                            + e.getMessage()
                            + "; set MILLRACE_CACHE to a writable directory that allows executables",
                    e);
        }
    }

    private static List<String> fileNames(String platform) {
        return platform.startsWith("win")
                ? List.of(
                        "libwinpthread-1.dll",
                        "libgcc_s_seh-1.dll",
                        "libstdc++-6.dll",
                        "tokenizers.dll")
                : List.of(System.mapLibraryName("tokenizers"));
    }

    private static Path unpacked(URL packed, String name) throws IOException {
        URLConnection connection = packed.openConnection();
        long size = connection.getContentLengthLong();
        String key =
                connection instanceof JarURLConnection jar
                        ? Long.toHexString(jar.getJarEntry().getCrc())
                        : Long.toHexString(size);
        Path shared = CacheDirectory.path().resolve("tokenizers-" + key);
        Path file = shared.resolve(name);
        if (Files.isRegularFile(file) && Files.size(file) == size) {
            return file;
        }
        try {
            Files.createDirectories(shared);
            return unpack(connection, shared, file);
        } catch (IOException notWritable) {
            Path own = Files.createTempDirectory("millrace-tokenizers-");
            Path ownFile = unpack(packed.openConnection(), own, own.resolve(name));
            own.toFile().deleteOnExit();
            ownFile.toFile().deleteOnExit();
            return ownFile;
        }
    }

    private static Path unpack(URLConnection connection, Path directory, Path file)
            throws IOException {
        Path partial = Files.createTempFile(directory, file.getFileName().toString(), ".partial");
        try (InputStream bytes = connection.getInputStream()) {
            Files.copy(bytes, partial, StandardCopyOption.REPLACE_EXISTING);
            return Files.move(
                    partial,
                    file,
                    StandardCopyOption.ATOMIC_MOVE,
                    StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(partial);
        }
    }

    private static String platform() {
        String arch = System.getProperty("os.arch");
        return osPrefix()
                + "-"
                + (arch.equals("amd64") ? "x86_64" : arch.equals("arm64") ? "aarch64" : arch);
    }

    private static String osPrefix() {
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        return os.startsWith("windows")
                ? "win"
                : os.startsWith("mac") ? "osx" : os.startsWith("linux") ? "linux" : os;
    }
}
