package dev.millrace.models.chat;

import dev.millrace.core.MillraceException;
import dev.millrace.models.Model;
import dev.millrace.models.checkpoint.Checkpoint;
import dev.millrace.models.checkpoint.GgufCheckpoint;
import dev.millrace.models.checkpoint.HuggingFaceCheckpoint;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** Finds the chat template for a model. */
public final class ChatTemplates {
    private ChatTemplates() {}

    /**
     * The model's own template, or the one asked for.
     *
     * @param wanted null for the model's own; else the name of a built-in style, or a file with a
     *     template
     * @throws MillraceException where the model has none, with what to do
     */
    public static ChatTemplate of(Model model, String wanted) {
        if (wanted == null) {
            return own(model)
                    .orElseThrow(() ->
                            new MillraceException(
                                    model.name()
                                            + " has no chat template: it was not made for conversations; if you know the style it was"
                                            + " trained in, give it with --template: "
                                            + String.join(", ", ChatTemplate.builtInNames())
                                            + ", or a file"));
        }
        String bos = spelling(model, model.config().bos());
        String eos = spelling(model, model.config().eos());
        Path file = Path.of(wanted);
        if (ChatTemplate.builtInNames().contains(wanted) || !Files.isRegularFile(file)) {
            return ChatTemplate.builtIn(wanted, bos, eos);
        }
        try {
            return ChatTemplate.of(Files.readString(file), bos, eos, wanted);
        } catch (IOException e) {
            throw new MillraceException(
                    wanted + ": cannot be read as UTF-8 text: " + e.getMessage(), e);
        }
    }

    private static Optional<ChatTemplate> own(Model model) {
        Checkpoint checkpoint = model.checkpoint().orElse(null);
        return switch (checkpoint) {
            case HuggingFaceCheckpoint files -> ChatTemplate.ofDirectory(files.directory());
            case GgufCheckpoint gguf ->
                    ChatTemplate.ofGguf(gguf.metadata().plain(), gguf.path().toString());
            case null -> Optional.empty();
        };
    }

    private static String spelling(Model model, List<Integer> ids) {
        return ids.isEmpty() ? "" : model.tokenizer().decode(new int[] {ids.getFirst()}, false);
    }
}
