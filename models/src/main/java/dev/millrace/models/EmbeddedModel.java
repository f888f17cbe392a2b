package dev.millrace.models;

import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.io.InputStream;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/**
 * The files of the model that comes with Millrace. A distribution holds them as plain files; from the library's jar, whose
 * entries cannot be mapped, they are unpacked once to the cache directory.
 */
final class EmbeddedModel {
    static final String NAME = "millrace-classics-8m";

    /** A file, its size and its SHA-256: what is unpacked is checked before it is used. */
    private record Packed(String name, long bytes, String sha256) {}

    private static final List<Packed> FILES = List.of(
            new Packed("model.safetensors", 17103424, "8a2f81e209c01b58bd2682a5b0c75f5b22c59fdd2b298990282fe5e9226da048"),
            new Packed("config.json", 822, "1f753c540245c6273de5c79d5d8704a5d550d5e2de8803b68037e7e6e3466851"),
            new Packed("generation_config.json", 195, "94e1af98e1c43270e8053f69e442df0e33aaf1d7dbad6bf583889289a46e64ce"),
            new Packed("tokenizer.json", 550550, "ea3dc9110953246f91bd8ff44801b2379d83882dca77f267596211f966cdac1c"),
            new Packed("training.json", 125, "b820f727fc9052e27ea1ba80024b30dcbec07d06a3293cba46dab4286e8775ff"));

    private EmbeddedModel() {}

    /**
     * The directory of the files.
     *
     * @throws MillraceException when they cannot be unpacked, with what to do
     */
    static Path directory() {
        String home = System.getProperty("millrace.home");
        if (home != null) {
            Path installed = Path.of(home, "models", NAME);
            if (complete(installed)) {
                return installed;
            }
        }
        URL config = resource("config.json");
        try {
            return config.getProtocol().equals("file") ? Path.of(config.toURI()).getParent() : unpacked();
        } catch (URISyntaxException | IOException e) {
            throw new MillraceException("the embedded model cannot be unpacked to " + CacheDirectory.path() + ": " + e
                    + "; set MILLRACE_CACHE to a directory that can be written", e);
        }
    }

    /** The directory in the cache, filled first where it is not. */
    static Path unpacked() throws IOException {
        Path directory = CacheDirectory.path().resolve(NAME + "-" + FILES.getFirst().sha256().substring(0, 12));
        if (complete(directory)) {
            return directory;
        }
        Files.createDirectories(directory);
        for (Packed file : FILES) {
            unpack(file, directory);
        }
        return directory;
    }

    /** Written under another name and moved, so that nobody ever reads half a file. */
    private static void unpack(Packed file, Path directory) throws IOException {
        Path partial = Files.createTempFile(directory, file.name(), ".partial");
        try {
            byte[] bytes;
            try (InputStream in = resource(file.name()).openStream()) {
                bytes = in.readAllBytes();
            }
            if (bytes.length != file.bytes() || !sha256(bytes).equals(file.sha256())) {
                throw new MillraceException("the embedded " + file.name() + " is damaged in the jar; install Millrace again");
            }
            Files.write(partial, bytes);
            Files.move(partial, directory.resolve(file.name()), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(partial);
        }
    }

    private static boolean complete(Path directory) {
        try {
            for (Packed file : FILES) {
                Path path = directory.resolve(file.name());
                if (!Files.isRegularFile(path) || Files.size(path) != file.bytes()) {
                    return false;
                }
            }
            return true;
        } catch (IOException e) {
            return false;
        }
    }

    private static URL resource(String name) {
        URL url = EmbeddedModel.class.getResource("embedded/" + NAME + "/" + name);
        if (url == null) {
            throw new MillraceException("the embedded model's " + name + " is missing from the jar; install Millrace again");
        }
        return url;
    }

    private static String sha256(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every Java has SHA-256", e);
        }
    }
}
