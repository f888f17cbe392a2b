package dev.millrace.models;

import java.nio.file.Path;
import java.util.Locale;

/** Where files that are made on first use are kept. */
public final class CacheDirectory {
    private CacheDirectory() {}

    /**
     * {@code -Dmillrace.cache} or the environment's {@code MILLRACE_CACHE}; else the platform's place for caches: {@code
     * $XDG_CACHE_HOME/millrace} or {@code ~/.cache/millrace}, {@code ~/Library/Caches/millrace}, {@code
     * %LOCALAPPDATA%\millrace\cache}. It need not exist yet.
     */
    public static Path path() {
        String chosen = System.getProperty("millrace.cache", System.getenv("MILLRACE_CACHE"));
        if (chosen != null && !chosen.isBlank()) {
            return Path.of(chosen);
        }
        Path home = Path.of(System.getProperty("user.home", "."));
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        if (os.startsWith("windows")) {
            String local = System.getenv("LOCALAPPDATA");
            return (local == null ? home : Path.of(local)).resolve("millrace").resolve("cache");
        }
        if (os.startsWith("mac")) {
            return home.resolve("Library/Caches/millrace");
        }
        String xdg = System.getenv("XDG_CACHE_HOME");
        return xdg == null || xdg.isBlank() ? home.resolve(".cache/millrace") : Path.of(xdg).resolve("millrace");
    }
}
