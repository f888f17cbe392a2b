package dev.millrace.models.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import dev.millrace.core.MillraceException;
import dev.millrace.models.chat.jinja.Template;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Every rendering equals what Python's jinja2 makes of it (src/test/python/chat_goldens.py). */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ChatGoldensTest {
    private final JsonNode goldens = JsonMapper.shared().readTree(resource("chat-goldens.json"));
    private Clock clock;

    @BeforeAll
    void setClock() {
        LocalDateTime now = LocalDateTime.parse(goldens.get("now").asString());
        clock = Clock.fixed(now.toInstant(ZoneOffset.UTC), ZoneOffset.UTC);
    }

    record Case(String name, JsonNode expected) {
        @Override
        public String toString() {
            return name;
        }
    }

    Stream<Case> renderings() {
        return stream(
                "renderings",
                node ->
                        node.get("template").asString()
                                + ", "
                                + node.get("conversation").asString()
                                + (node.get("prompt").asBoolean() ? "" : ", no prompt"));
    }

    Stream<Case> snippets() {
        return stream(
                "snippets",
                node -> node.get("template").asString().replace("\n", "\\n").replace("\r", "\\r"));
    }

    private Stream<Case> stream(String name, java.util.function.Function<JsonNode, String> label) {
        return goldens.get(name).valueStream().map(node -> new Case(label.apply(node), node));
    }

    @ParameterizedTest
    @MethodSource("renderings")
    void aConversationRendersAsInJinja(Case test) {
        String name = test.expected().get("template").asString();
        JsonNode tokens = goldens.get("tokens");
        ChatTemplate template =
                ChatTemplate.of(
                                resource("templates/" + name),
                                tokens.get("bos_token").asString(),
                                tokens.get("eos_token").asString())
                        .at(clock);
        Map<String, Object> variables =
                map(
                        goldens.get("conversations")
                                .get(test.expected().get("conversation").asString()));
        variables.put("add_generation_prompt", test.expected().get("prompt").asBoolean());
        check(test, () -> template.render(variables));
    }

    @ParameterizedTest
    @MethodSource("snippets")
    void aSnippetRendersAsInJinja(Case test) {
        check(
                test,
                () ->
                        Template.parse(test.expected().get("template").asString())
                                .render(map(goldens.get("values")), clock));
    }

    private static void check(Case test, java.util.function.Supplier<String> rendering) {
        String text;
        try {
            text = rendering.get();
        } catch (MillraceException e) {
            if (test.expected().has("text")) {
                fail(
                        "should render as "
                                + test.expected().get("text")
                                + ", but: "
                                + e.getMessage(),
                        e);
            }
            assertThat(e.getMessage()).contains("line ").doesNotContain("\n");
            return;
        }
        if (test.expected().has("error")) {
            fail("should be refused (" + test.expected().get("error") + "), rendered as " + text);
        }
        assertThat(text).isEqualTo(test.expected().get("text").asString());
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> map(JsonNode node) {
        return JsonMapper.shared().convertValue(node, LinkedHashMap.class);
    }

    static String resource(String name) {
        try (InputStream in = ChatGoldensTest.class.getResourceAsStream(name)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }
}
