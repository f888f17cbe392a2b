package dev.millrace.models.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.Random;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class StreamDecoderTest {
    private static Tokenizer tokenizer;

    @BeforeAll
    static void open() throws IOException {
        tokenizer =
                Tokenizers.ofBundledJson(
                        TokenizerTest.resource(TokenizerTest.EMBEDDED), "embedded tokenizer");
    }

    @AfterAll
    static void close() {
        tokenizer.close();
    }

    @Test
    void noPieceEndsInHalfACharacterAndTogetherTheyAreTheText() {
        long seed = ThreadLocalRandom.current().nextLong();
        for (String text : RandomText.many(seed, 1_000)) {
            String plain = text.replace("\ufffd", "");
            int[] ids = tokenizer.encode(plain, false);
            StreamDecoder stream = tokenizer.stream();
            StringBuilder joined = new StringBuilder();
            for (int id : ids) {
                String piece = stream.push(id);
                assertThat(piece).as("seed %d", seed).doesNotContain("\ufffd");
                joined.append(piece);
                assertThat(plain).as("seed %d", seed).startsWith(joined);
            }
            assertThat(joined.append(stream.finish())).as("seed %d", seed).hasToString(plain);
        }
    }

    @Test
    void everyEmojiByteIsHeldUntilTheLast() {
        int[] ids = tokenizer.encode("\ud83d\ude00", false);
        assertThat(ids).hasSizeGreaterThan(1);
        StreamDecoder stream = tokenizer.stream();
        for (int i = 0; i < ids.length - 1; i++) {
            assertThat(stream.push(ids[i])).isEmpty();
        }
        assertThat(stream.push(ids[ids.length - 1])).isEqualTo("\ud83d\ude00");
        assertThat(stream.finish()).isEmpty();
    }

    /** Random ids are random bytes: mostly no UTF-8, as an untrained model makes them. */
    @Test
    void randomIdsStreamToWhatTheyDecodeTo() {
        long seed = ThreadLocalRandom.current().nextLong();
        Random random = new Random(seed);
        for (int round = 0; round < 2_000; round++) {
            // The first 257 ids of the vocabulary are end-of-text and the single bytes.
            int range = round % 2 == 0 ? 257 : 8192;
            int[] ids = random.ints(random.nextInt(60), 0, range).toArray();
            StreamDecoder stream = tokenizer.stream();
            StringBuilder joined = new StringBuilder();
            for (int id : ids) {
                joined.append(stream.push(id));
            }
            joined.append(stream.finish());
            assertThat(joined)
                    .as("seed %d, round %d", seed, round)
                    .hasToString(tokenizer.decode(ids, true));
        }
    }

    @Test
    void endlessInvalidBytesAreGivenOutInTheEnd() {
        int continuation = tokenizer.encode("\ud83d\ude00", false)[1];
        StreamDecoder stream = tokenizer.stream();
        int given = 0;
        for (int i = 0; i < 1_000; i++) {
            given += stream.push(continuation).length();
        }
        assertThat(given).isGreaterThan(900);
        assertThat(given + stream.finish().length()).isEqualTo(1_000);
    }

    @Test
    void aFinishedStreamStartsAnew() {
        StreamDecoder stream = tokenizer.stream();
        int[] ids = tokenizer.encode("\ud83d\ude00", false);
        stream.push(ids[0]);
        assertThat(stream.finish()).isEqualTo("\ufffd");
        assertThat(stream.push(tokenizer.encode("a", false)[0])).isEqualTo("a");
    }
}
