package dev.millrace.models.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.fail;

import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.function.Function;

/** Opens files that lie. */
final class Hostile {
    private Hostile() {}

    /** Opening fails in one line that names the file and says all of {@code parts}. */
    static void refused(Function<Path, ? extends AutoCloseable> open, Path file, String... parts) {
        assertThatThrownBy(() -> open.apply(file).close())
                .isInstanceOf(MillraceException.class)
                .hasMessageStartingWith(file.toString())
                .satisfies(e -> {
                    assertThat(e.getMessage()).hasSizeLessThan(1200).doesNotContainPattern("\\p{Cntrl}");
                    for (String part : parts) {
                        assertThat(e.getMessage()).contains(part);
                    }
                });
    }

    /**
     * Cuts and alters a valid file in {@code rounds} ways. Every one is refused with a {@link MillraceException}, or what
     * {@code read} then reads is read without any other failure.
     */
    static <T extends AutoCloseable> void mutations(
            byte[] valid, int interesting, Path file, int rounds, Function<Path, T> open, java.util.function.Consumer<T> read)
            throws IOException {
        int refused = 0;
        for (int round = 0; round < rounds; round++) {
            Random random = new Random(round);
            byte[] bytes = valid.clone();
            if (random.nextInt(4) == 0) {
                bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length + 64));
            }
            int changes = random.nextInt(4);
            for (int i = 0; i < changes && bytes.length > 0; i++) {
                int at = random.nextInt(Math.min(interesting, bytes.length));
                if (random.nextBoolean()) {
                    bytes[at] = (byte) random.nextInt();
                } else {
                    byte fill = (byte) (random.nextBoolean() ? 0xff : random.nextInt(128));
                    Arrays.fill(bytes, at, Math.min(bytes.length, at + 1 + random.nextInt(8)), fill);
                }
            }
            Files.write(file, bytes);
            try (T opened = open.apply(file)) {
                read.accept(opened);
            } catch (MillraceException e) {
                refused++;
                assertThat(e.getMessage()).as("seed " + round).contains(file.getFileName().toString());
                assertThat(e.getMessage()).as("seed " + round).doesNotContainPattern("[\\r\\n]");
            } catch (Throwable e) {
                fail("seed " + round + ": " + e, e);
            }
        }
        assertThat(refused).isBetween(rounds / 10, rounds - 1);
    }
}
