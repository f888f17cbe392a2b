package dev.millrace.models.chat;

import dev.millrace.core.MillraceException;
import dev.millrace.models.chat.jinja.Template;
import dev.millrace.models.chat.jinja.TemplateException;
import dev.millrace.models.tokenizer.TokenizerConfig;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * How a model wants a conversation written down: a Jinja template over {@code messages}, {@code
 * bos_token}, {@code eos_token} and {@code add_generation_prompt}, as checkpoints carry it.
 *
 * <p>The text contains the special tokens already: encode it with {@code specialTokens} false.
 */
public final class ChatTemplate {
    private static final List<String> BUILT_IN =
            List.of("chatml", "gemma", "llama2", "llama3", "mistral", "phi3", "zephyr");
    private static final int MAX_CHARS = 1 << 20;

    private final Template template;
    private final String bos;
    private final String eos;
    private final String source;
    private final Clock clock;

    private ChatTemplate(Template template, String bos, String eos, String source, Clock clock) {
        this.template = template;
        this.bos = bos;
        this.eos = eos;
        this.source = source;
        this.clock = clock;
    }

    /**
     * A template.
     *
     * @param bos spelling of the begin-of-sequence token, or null; {@code eos} of the
     *     end-of-sequence token
     */
    public static ChatTemplate of(String template, String bos, String eos) {
        return of(template, bos, eos, "chat template");
    }

    /**
     * @param source what messages name
     */
    public static ChatTemplate of(String template, String bos, String eos, String source) {
        if (template.length() > MAX_CHARS) {
            throw new MillraceException(
                    source
                            + ": "
                            + template.length()
                            + " characters are too many for a chat template");
        }
        try {
            return new ChatTemplate(
                    Template.parse(template), bos, eos, source, Clock.systemDefaultZone());
        } catch (TemplateException e) {
            throw failed(source, e);
        }
    }

    /**
     * The template of a checkpoint directory: {@code chat_template.jinja}, else that of {@code
     * tokenizer_config.json}.
     */
    public static Optional<ChatTemplate> ofDirectory(Path directory) {
        TokenizerConfig config = TokenizerConfig.ofDirectory(directory);
        Path file = directory.resolve("chat_template.jinja");
        try {
            if (Files.exists(file)) {
                if (Files.size(file) > MAX_CHARS) {
                    throw new MillraceException(file + ": is too large for a chat template");
                }
                return Optional.of(
                        of(
                                Files.readString(file),
                                config.bosToken(),
                                config.eosToken(),
                                file.toString()));
            }
        } catch (IOException e) {
            throw new MillraceException(
                    file + ": cannot be read as UTF-8 text: " + e.getMessage(), e);
        }
        if (config.chatTemplates().isEmpty()) {
            return Optional.empty();
        }
        String template = config.chatTemplates().get("default");
        if (template == null) {
            throw new MillraceException(
                    config.source()
                            + ": field chat_template has no template named default, only "
                            + config.chatTemplates().keySet()
                            + "; choose a style with --template");
        }
        return Optional.of(of(template, config.bosToken(), config.eosToken(), config.source()));
    }

    /** The template in the metadata of a GGUF file, {@code tokenizer.chat_template}. */
    public static Optional<ChatTemplate> ofGguf(Map<String, Object> metadata, String source) {
        return switch (metadata.get("tokenizer.chat_template")) {
            case null -> Optional.empty();
            case String template ->
                    Optional.of(
                            of(
                                    template,
                                    ggufToken(metadata, "bos_token_id"),
                                    ggufToken(metadata, "eos_token_id"),
                                    source + ": metadata tokenizer.chat_template"));
            default ->
                    throw new MillraceException(
                            source + ": metadata tokenizer.chat_template: should be a string");
        };
    }

    private static String ggufToken(Map<String, Object> metadata, String name) {
        if (!(metadata.get("tokenizer.ggml." + name) instanceof Number number)) {
            return null;
        }
        long id = number.longValue();
        Object token =
                switch (metadata.get("tokenizer.ggml.tokens")) {
                    case List<?> list when id >= 0 && id < list.size() -> list.get((int) id);
                    case Object[] array when id >= 0 && id < array.length -> array[(int) id];
                    case null, default -> null;
                };
        return token instanceof String text ? text : null;
    }

    /** A built-in style, by a name of {@link #builtInNames()}. */
    public static ChatTemplate builtIn(String name, String bos, String eos) {
        if (!BUILT_IN.contains(name)) {
            throw new MillraceException(
                    "no chat template is named "
                            + name
                            + "; there are "
                            + String.join(", ", BUILT_IN));
        }
        try (InputStream in =
                ChatTemplate.class.getResourceAsStream("templates/" + name + ".jinja")) {
            return of(
                    new String(in.readAllBytes(), StandardCharsets.UTF_8),
                    bos,
                    eos,
                    "chat template " + name);
        } catch (IOException e) {
            throw new MillraceException(
                    "chat template " + name + " cannot be read: " + e.getMessage(), e);
        }
    }

    public static List<String> builtInNames() {
        return BUILT_IN;
    }

    /**
     * The text that a model is given.
     *
     * @param addGenerationPrompt whether the text ends with the beginning of the assistant's next
     *     message
     * @throws MillraceException where the template refuses the conversation, such as two user
     *     messages in a row
     */
    public String render(List<Message> messages, boolean addGenerationPrompt) {
        List<Map<String, String>> maps =
                messages.stream()
                        .map(message ->
                                Map.of("role", message.role(), "content", message.content()))
                        .toList();
        Map<String, Object> variables = new LinkedHashMap<>();
        variables.put("messages", maps);
        variables.put("add_generation_prompt", addGenerationPrompt);
        return render(variables);
    }

    /**
     * The text for other variables than messages alone: {@code tools}, {@code enable_thinking},
     * {@code date_string}, … The special tokens are added; {@code tools} and {@code documents} are
     * none where they are not given.
     */
    public String render(Map<String, Object> variables) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("tools", null);
        all.put("documents", null);
        if (bos != null) {
            all.put("bos_token", bos);
        }
        if (eos != null) {
            all.put("eos_token", eos);
        }
        all.putAll(variables);
        try {
            return template.render(all, clock);
        } catch (TemplateException e) {
            throw failed(source, e);
        }
    }

    /** The same template with another clock for {@code strftime_now}. */
    ChatTemplate at(Clock other) {
        return new ChatTemplate(template, bos, eos, source, other);
    }

    private static MillraceException failed(String source, TemplateException e) {
        return new MillraceException(source + ": " + e.getMessage(), e);
    }
}
