package dev.millrace.models.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ChatTemplateTest {
    private static final List<Message> HELLO = List.of(Message.user("Hello"));

    @TempDir Path directory;

    private void config(String json) throws IOException {
        Files.writeString(directory.resolve("tokenizer_config.json"), json);
    }

    private String rendered() {
        return ChatTemplate.ofDirectory(directory).orElseThrow().render(HELLO, true);
    }

    @Test
    void aTemplateComesFromTokenizerConfigAsText() throws IOException {
        config(
                "{\"bos_token\": {\"content\": \"<B>\"}, \"eos_token\": \"<E>\","
                        + " \"chat_template\": \"{{ bos_token }}{{ messages[0].content }}{{ eos_token }}\"}");
        assertThat(rendered()).isEqualTo("<B>Hello<E>");
    }

    @Test
    void aTemplateComesFromTokenizerConfigAsNamedList() throws IOException {
        config(
                "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"no\"},"
                        + " {\"name\": \"default\", \"template\": \"{{ messages[0].role }}\"}]}");
        assertThat(rendered()).isEqualTo("user");
        config("{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"no\"}]}");
        assertThatThrownBy(this::rendered)
                .hasMessageContaining("tool_use")
                .hasMessageContaining("--template");
    }

    @Test
    void theTemplateFileWinsOverTheConfig() throws IOException {
        config("{\"bos_token\": \"<B>\", \"chat_template\": \"config\"}");
        Files.writeString(directory.resolve("chat_template.jinja"), "{{ bos_token }}file\n");
        assertThat(rendered()).isEqualTo("<B>file");
    }

    @Test
    void aDirectoryWithoutTemplateHasNone() throws IOException {
        assertThat(ChatTemplate.ofDirectory(directory)).isEmpty();
        config("{}");
        assertThat(ChatTemplate.ofDirectory(directory)).isEmpty();
    }

    @Test
    void aTemplateComesFromGgufMetadata() {
        Map<String, Object> metadata =
                Map.of(
                        "tokenizer.chat_template",
                        "{{ bos_token }}|{{ eos_token }}|{{ messages[0].content }}",
                        "tokenizer.ggml.tokens",
                        List.of("a", "<s>", "</s>"),
                        "tokenizer.ggml.bos_token_id",
                        1,
                        "tokenizer.ggml.eos_token_id",
                        2L);
        assertThat(ChatTemplate.ofGguf(metadata, "x.gguf").orElseThrow().render(HELLO, true))
                .isEqualTo("<s>|</s>|Hello");
        assertThat(ChatTemplate.ofGguf(Map.of(), "x.gguf")).isEmpty();
        assertThatThrownBy(
                        () -> ChatTemplate.ofGguf(Map.of("tokenizer.chat_template", 5), "x.gguf"))
                .hasMessage("x.gguf: metadata tokenizer.chat_template: should be a string");
    }

    @Test
    void everyBuiltInStyleRendersAConversation() {
        List<Message> messages =
                List.of(
                        Message.system("System"),
                        Message.user("Question"),
                        Message.assistant("Answer"),
                        Message.user("Next"));
        for (String name : ChatTemplate.builtInNames()) {
            String text = ChatTemplate.builtIn(name, "<s>", "</s>").render(messages, true);
            assertThat(text).as(name).containsSubsequence("System", "Question", "Answer", "Next");
        }
        assertThatThrownBy(() -> ChatTemplate.builtIn("nope", null, null))
                .hasMessageContaining("chatml");
    }

    @Test
    void mistakesNameTheFileAndTheLine() throws IOException {
        config("{\"chat_template\": \"a\\nb {{ messages | nofilter }}\"}");
        assertThatThrownBy(this::rendered)
                .isInstanceOf(MillraceException.class)
                .hasMessage(
                        directory.resolve("tokenizer_config.json")
                                + ": line 2: the filter nofilter is not supported");
        config("{\"chat_template\": 7}");
        assertThatThrownBy(this::rendered)
                .hasMessageContaining("field chat_template: should be a string");
        config("{\"chat_template\": ");
        assertThatThrownBy(this::rendered)
                .hasMessageContaining("tokenizer_config.json: not readable as JSON");
    }

    @Test
    void aRefusalOfTheTemplateIsToldAsSuch() {
        ChatTemplate strict =
                ChatTemplate.of("{{ raise_exception('roles must alternate') }}", null, null);
        assertThatThrownBy(() -> strict.render(HELLO, true))
                .hasMessage(
                        "chat template: line 1: the template refuses this conversation: roles must alternate");
    }
}
