package dev.millrace.models.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Random;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.Test;

class StopScannerTest {
    @Test
    void textThatMayBeginAStopStringIsHeldBack() {
        StopScanner scanner = new StopScanner(List.of("\n\nUser:"));
        assertThat(scanner.push("Hello")).isEqualTo("Hello");
        assertThat(scanner.push(" there\n")).isEqualTo(" there");
        assertThat(scanner.push("\nUs")).isEmpty();
        assertThat(scanner.push("ing")).isEqualTo("\n\nUsing");
        assertThat(scanner.push("\n\n\nUser")).isEqualTo("\n");
        assertThat(scanner.stopped()).isFalse();
        assertThat(scanner.push(": hi")).isEmpty();
        assertThat(scanner.found()).isEqualTo("\n\nUser:");
        assertThat(scanner.push("more")).isEmpty();
        assertThat(scanner.finish()).isEmpty();
    }

    @Test
    void heldTextComesOutAtTheEnd() {
        StopScanner scanner = new StopScanner(List.of("END"));
        assertThat(scanner.push("the EN")).isEqualTo("the ");
        assertThat(scanner.finish()).isEqualTo("EN");
        assertThat(scanner.found()).isNull();
    }

    @Test
    void theCutIntoPiecesMakesNoDifference() {
        long seed = ThreadLocalRandom.current().nextLong();
        Random random = new Random(seed);
        for (int round = 0; round < 5_000; round++) {
            List<String> stops =
                    List.of(
                            word(random, 1 + random.nextInt(4)),
                            word(random, 1 + random.nextInt(4)));
            String text = word(random, random.nextInt(20));
            StopScanner whole = new StopScanner(stops);
            String expected = whole.push(text) + whole.finish();
            StopScanner cut = new StopScanner(stops);
            StringBuilder pieces = new StringBuilder();
            for (int at = 0; at < text.length(); ) {
                int next = Math.min(text.length(), at + 1 + random.nextInt(3));
                pieces.append(cut.push(text.substring(at, next)));
                at = next;
            }
            pieces.append(cut.finish());
            assertThat(pieces)
                    .as("seed %d, stops %s, text %s", seed, stops, text)
                    .hasToString(expected);
            assertThat(cut.found())
                    .as("seed %d, stops %s, text %s", seed, stops, text)
                    .isEqualTo(whole.found());
            assertThat(stops.stream().anyMatch(text::contains)).isEqualTo(whole.stopped());
        }
    }

    @Test
    void anEmptyStopStringIsRefused() {
        assertThatThrownBy(() -> new StopScanner(List.of("x", ""))).hasMessageContaining("empty");
    }

    private static String word(Random random, int length) {
        return random.ints(length, 'a', 'd')
                .collect(StringBuilder::new, (b, c) -> b.append((char) c), StringBuilder::append)
                .toString();
    }
}
