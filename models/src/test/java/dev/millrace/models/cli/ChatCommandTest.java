package dev.millrace.models.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Session;
import dev.millrace.models.Engine;
import dev.millrace.models.GenerateOptions;
import dev.millrace.models.Generation;
import dev.millrace.models.GenerationSink;
import dev.millrace.models.Model;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Conversations through pipes, with the embedded model (which knows no conversations, but continues
 * any text).
 */
class ChatCommandTest {
    private static Cli chat(String input, String... options) {
        InputStream terminal = System.in;
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        try {
            String[] line = new String[options.length + 1];
            line[0] = "chat";
            System.arraycopy(options, 0, line, 1, options.length);
            return Cli.run(line);
        } finally {
            System.setIn(terminal);
        }
    }

    @Test
    void aModelWithoutTemplateIsRefusedWithWhatToDo() {
        Cli run = chat("hello\n");
        assertThat(run.exit()).isEqualTo(1);
        assertThat(run.err())
                .contains("has no chat template")
                .contains("--template")
                .contains("chatml");
        assertThat(run.out()).isEmpty();
    }

    @Test
    void eachLineGetsAnAnswerAndTheSameSeedTheSame() {
        String[] options = {
            "--template", "zephyr", "-n", "8", "--seed", "3", "--system", "You tell stories."
        };
        Cli one = chat("Who are you?\n\nAnd then?\n/exit\nnever said\n", options);
        Cli two = chat("Who are you?\nAnd then?\n", options);
        assertThat(one.exit()).as(one.err()).isZero();
        assertThat(one.out()).isEqualTo(two.out()).endsWith("\n");
        assertThat(one.out().lines().count()).isGreaterThanOrEqualTo(2);
    }

    /**
     * The second answer follows from the whole conversation, though the session computed only what
     * was new.
     */
    @Test
    void theSecondAnswerIsThatOfTheWholePrompt(@TempDir Path folder) throws Exception {
        Path template = folder.resolve("plain.jinja");
        Files.writeString(
                template,
                "{% for m in messages %}[{{ m.role }}] {{ m.content }}|\n{% endfor %}"
                        + "{% if add_generation_prompt %}[assistant] {% endif %}");
        Cli run =
                chat(
                        "One.\nTwo.\n",
                        "--template",
                        template.toString(),
                        "-n",
                        "6",
                        "--temperature",
                        "0",
                        "--stats");
        assertThat(run.exit()).as(run.err()).isZero();
        String first = answer("[user] One.|\n[assistant] ");
        String second =
                answer(
                        "[user] One.|\n[assistant] "
                                + first.strip()
                                + "|\n[user] Two.|\n[assistant] ");
        assertThat(run.out()).isEqualTo(first + "\n" + second + "\n");
        assertThat(run.err()).contains("prompt tokens");
    }

    private static String answer(String prompt) {
        Cli run =
                Cli.run(
                        "generate",
                        prompt,
                        "-n",
                        "6",
                        "--temperature",
                        "0",
                        "--stop",
                        "|",
                        "--format",
                        "json");
        return run.json().get("text").stringValue();
    }

    @Test
    void resetForgetsWhatWasSaid() {
        String[] options = {"--template", "chatml", "-n", "6", "--temperature", "0"};
        Cli fresh = chat("Two\n", options);
        Cli reset = chat("One\n/reset\nTwo\n", options);
        assertThat(reset.out()).endsWith(fresh.out());
        assertThat(reset.err()).contains("the conversation is forgotten");
    }

    @Test
    void commandsThatDoNotExistAreNotSaidToTheModel() {
        Cli run = chat("/help\n/nonsense now\n", "--template", "chatml");
        assertThat(run.exit()).isZero();
        assertThat(run.out()).isEmpty();
        assertThat(run.err()).contains("/reset forgets").contains("there is no command /nonsense");
    }

    @Test
    void aLongConversationForgetsItsOldestTurnsAndAnOversizedMessageIsRefused() {
        String input =
                "This is a sentence of some length, to fill the context.\n".repeat(6)
                        + "word ".repeat(300)
                        + "\nLast.\n";
        Cli run = chat(input, "--template", "chatml", "-n", "2", "--ctx", "100", "--seed", "1");
        assertThat(run.exit()).as(run.err()).isZero();
        assertThat(run.err()).contains("forgotten").contains("shorten it");
        assertThat(chat("x\n", "--template", "chatml", "--ctx", "100000").exit()).isEqualTo(2);
    }

    @Test
    void aSessionComputesOnlyWhatItDoesNotHoldYet() {
        try (Model model = Model.embedded();
                Executor executor = Executors.named("cpu-simd").open();
                Engine engine = Engine.open(model, executor);
                Session session = engine.newSession(256)) {
            GenerateOptions greedy = GenerateOptions.greedy().withMaxTokens(12);
            int[] first = model.tokenizer().encode("Once upon a time there was", false);
            Generation one = engine.generate(session, first, greedy, GenerationSink.NONE);
            int[] longer = Arrays.copyOf(first, first.length + 4);
            System.arraycopy(one.ids(), 0, longer, first.length, 4);
            int[] other = model.tokenizer().encode("Once upon a hill", false);
            for (int[] prompt :
                    new int[][] {first, longer, other, first, Arrays.copyOf(first, 1)}) {
                Generation shared = engine.generate(session, prompt, greedy, GenerationSink.NONE);
                Generation alone = engine.generate(prompt, greedy, GenerationSink.NONE);
                assertThat(shared.ids()).isEqualTo(alone.ids());
                assertThat(session.position()).isEqualTo(prompt.length + shared.ids().length - 1);
            }
        }
    }
}
