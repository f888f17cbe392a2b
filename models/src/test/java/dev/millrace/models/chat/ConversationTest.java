package dev.millrace.models.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.Test;

class ConversationTest {
    private static final ChatTemplate TEMPLATE = ChatTemplate.builtIn("chatml", null, null);

    /** One token a word. */
    private static int words(String text) {
        return text.split("\\s+").length;
    }

    private static Conversation talk(String system) {
        return new Conversation(TEMPLATE, system, ConversationTest::words);
    }

    @Test
    void thePromptHoldsEverythingThatFits() {
        Conversation talk = talk("be kind");
        assertThat(talk.ask("one", 1_000))
                .isEqualTo(
                        "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n");
        talk.answer("two");
        assertThat(talk.ask("three", 1_000))
                .contains("be kind", "one", "two", "three")
                .endsWith("assistant\n");
        assertThat(talk.dropped()).isZero();
    }

    @Test
    void theOldestTurnsGoFirstAndWholeAndTheSystemMessageStays() {
        Conversation talk = talk("system");
        for (int i = 0; i < 10; i++) {
            talk.ask("question" + i, 1_000);
            talk.answer("answer" + i);
        }
        String prompt = talk.ask("last", 21);
        assertThat(words(prompt)).isLessThanOrEqualTo(21);
        assertThat(talk.dropped()).isEqualTo(6);
        assertThat(talk.messages())
                .extracting(Message::content)
                .containsExactly(
                        "system",
                        "question6",
                        "answer6",
                        "question7",
                        "answer7",
                        "question8",
                        "answer8",
                        "question9",
                        "answer9",
                        "last");
    }

    @Test
    void neverMoreThanTheBudgetAndNeverFewerTurnsThanFit() {
        long seed = ThreadLocalRandom.current().nextLong();
        Random random = new Random(seed);
        for (int round = 0; round < 300; round++) {
            Conversation talk = talk(random.nextBoolean() ? "s" : null);
            List<Message> all = new ArrayList<>();
            for (int turn = 0; turn < 12; turn++) {
                int budget = 20 + random.nextInt(60);
                String question = "q ".repeat(1 + random.nextInt(10)).strip();
                List<Message> before = talk.messages();
                String prompt = talk.ask(question, budget);
                assertThat(words(prompt)).as("seed %d", seed).isLessThanOrEqualTo(budget);
                // One turn more would not have fitted, or there was none to keep.
                List<Message> kept = talk.messages();
                int gone = before.size() + 1 - kept.size();
                if (gone > 0) {
                    List<Message> more = new ArrayList<>(kept);
                    int first = kept.getFirst().role().equals("system") ? 1 : 0;
                    more.addAll(first, before.subList(first + gone - 2, first + gone));
                    assertThat(words(TEMPLATE.render(more, true)))
                            .as("seed %d", seed)
                            .isGreaterThan(budget);
                }
                talk.answer("a ".repeat(1 + random.nextInt(10)).strip());
            }
        }
    }

    @Test
    void aMessageThatAloneIsTooLongIsRefusedAndLeavesTheRestAsItWas() {
        Conversation talk = talk(null);
        talk.ask("fine", 100);
        talk.answer("good");
        assertThatThrownBy(() -> talk.ask("w ".repeat(200), 100))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("context leaves 100");
        assertThat(talk.messages()).extracting(Message::content).containsExactly("fine", "good");
        assertThat(talk.dropped()).isZero();
    }

    @Test
    void resetForgetsAllButTheSystemMessage() {
        Conversation talk = talk("s");
        talk.ask("a", 100);
        talk.answer("b");
        talk.reset();
        assertThat(talk.messages()).containsExactly(Message.system("s"));
    }
}
