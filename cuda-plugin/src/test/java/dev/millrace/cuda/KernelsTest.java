package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** The compiled kernels in the jar are those of the sources. */
class KernelsTest {
    private static final Path SOURCES = Path.of("src/main/cuda");
    private static final Pattern INCLUDE = Pattern.compile("^#include \"(.*)\"", Pattern.MULTILINE);

    @Test
    void theCompiledKernelsBelongToTheirSources() throws IOException, NoSuchAlgorithmException {
        Assumptions.assumeTrue(Files.isDirectory(SOURCES), "runs away from the sources");
        Map<String, String> expected = new TreeMap<>();
        try (Stream<Path> files = Files.list(SOURCES)) {
            for (Path source : files.filter(f -> f.toString().endsWith(".cu")).toList()) {
                expected.put(source.getFileName().toString().replace(".cu", ""), hash(source));
            }
        }
        assertThat(Kernels.sourceHashes())
                .as("sh cuda-plugin/src/main/cuda/build.sh cuda-plugin/src/main/resources/dev/millrace/cuda/kernels")
                .containsExactlyInAnyOrderEntriesOf(expected);
    }

    @Test
    void everyModuleIsThereAndStaysSmall() throws IOException {
        long bytes = 0;
        for (String module : new TreeSet<>(Kernels.index().values())) {
            try (var in = Kernels.class.getResourceAsStream("kernels/" + module + ".fatbin")) {
                assertThat(in).as(module).isNotNull();
                bytes += in.readAllBytes().length;
            }
        }
        assertThat(bytes).as("bytes of all modules").isBetween(1L, 4L << 20);
    }

    @Test
    void everyKernelThatIsLaunchedByAFixedNameExists() {
        assertThat(Kernels.index().keySet())
                .contains("embed", "rope_angles", "normalize", "rope", "select_rows", "pool")
                .contains("activation", "gate", "add", "permute", "kv_append", "attn_decode", "sample", "repack", "mark")
                .contains("roof_empty", "roof_read", "roof_copy", "roof_fma", "roof_tf32", "roof_f16", "roof_bf16");
        for (Format format : Format.values()) {
            String name = format.name().toLowerCase(java.util.Locale.ROOT);
            assertThat(Kernels.index()).containsKeys("gemv_" + name, "gemm_" + name);
        }
        assertThat(Kernels.index()).containsKeys("gemm_tf32", "attn_prefill", "attn_prefill_f32");
    }

    private static String hash(Path source) throws IOException, NoSuchAlgorithmException {
        Set<String> headers = new TreeSet<>();
        include(source, headers);
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        digest.update(Files.readAllBytes(source));
        for (String header : headers) {
            digest.update(Files.readAllBytes(SOURCES.resolve(header)));
        }
        return HexFormat.of().formatHex(digest.digest());
    }

    private static void include(Path file, Set<String> headers) throws IOException {
        Matcher matcher = INCLUDE.matcher(Files.readString(file, StandardCharsets.UTF_8));
        while (matcher.find()) {
            if (headers.add(matcher.group(1))) {
                include(SOURCES.resolve(matcher.group(1)), headers);
            }
        }
    }
}
