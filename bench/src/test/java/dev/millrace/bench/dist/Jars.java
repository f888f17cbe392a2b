package dev.millrace.bench.dist;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.ToolProvider;

/** Makes plugin jars. */
final class Jars {
    private static final Path GUIDE = Path.of("..", "docs", "writing-an-executor.md");
    private static final Pattern EXAMPLE = Pattern.compile("```java\\n(package tiny;.*?)```", Pattern.DOTALL);

    private Jars() {}

    static void pack(Path folder, Path jar) throws IOException {
        try (OutputStream file = Files.newOutputStream(jar);
                JarOutputStream out = new JarOutputStream(file);
                Stream<Path> files = Files.walk(folder)) {
            for (Path path : files.filter(Files::isRegularFile).toList()) {
                out.putNextEntry(new JarEntry(folder.relativize(path).toString().replace('\\', '/')));
                Files.copy(path, out);
                out.closeEntry();
            }
        }
    }

    /** The example of the guide, compiled against the distribution's core, with its service entry. */
    static Path compileGuideExample(Path folder) throws IOException {
        Matcher example = EXAMPLE.matcher(Files.readString(GUIDE));
        assertThat(example.find()).as("the example in %s", GUIDE).isTrue();
        Path source = Files.createDirectories(folder.resolve("src/tiny")).resolve("TinyProvider.java");
        Files.writeString(source, example.group(1));
        Path classes = folder.resolve("classes");
        Path services = Files.createDirectories(classes.resolve("META-INF/services"));
        Files.writeString(services.resolve("dev.millrace.core.executor.ExecutorProvider"), "tiny.TinyProvider\n");
        String core;
        try (Stream<Path> lib = Files.list(Launcher.DIST.resolve("lib"))) {
            core = lib.filter(jar -> jar.getFileName().toString().startsWith("millrace-core")).findFirst().orElseThrow().toString();
        }
        int exit = ToolProvider.getSystemJavaCompiler()
                .run(null, null, null, List.of("-cp", core, "-d", classes.toString(), source.toString()).toArray(String[]::new));
        assertThat(exit).as("javac of the example").isZero();
        return classes;
    }
}
