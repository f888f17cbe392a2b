package dev.millrace.models.chat;

import dev.millrace.core.MillraceException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToIntFunction;

/**
 * A conversation that is kept short enough for a context: the oldest turns go first, whole (what
 * the user said with what was answered), the system message stays. Not for use by several threads.
 */
public final class Conversation {
    private final ChatTemplate template;
    private final ToIntFunction<String> tokens;
    private final List<Message> messages = new ArrayList<>();
    private final Message system;
    private int dropped;

    /**
     * A conversation with nothing said yet.
     *
     * @param system the system message, or null
     * @param tokens how many tokens a text has
     */
    public Conversation(ChatTemplate template, String system, ToIntFunction<String> tokens) {
        this.template = template;
        this.tokens = tokens;
        this.system = system == null ? null : Message.system(system);
    }

    /**
     * Adds what the user says, and forgets old turns until prompt and answer fit.
     *
     * @param budget tokens there are for the prompt: the context less room for the answer
     * @return the prompt
     * @throws MillraceException where this message alone is too long; the conversation is then as
     *     before
     */
    public String ask(String content, int budget) {
        messages.add(Message.user(content));
        try {
            String prompt = prompt(0);
            int length;
            int kept = 0;
            while ((length = tokens.applyAsInt(prompt)) > budget) {
                kept = nextTurn(kept);
                if (kept >= messages.size()) {
                    throw new MillraceException(
                            "the message takes "
                                    + length
                                    + " tokens with its template and the context leaves "
                                    + budget
                                    + "; shorten it");
                }
                prompt = prompt(kept);
            }
            dropped +=
                    (int)
                            messages.subList(0, kept).stream()
                                    .filter(m -> m.role().equals("user"))
                                    .count();
            messages.subList(0, kept).clear();
            return prompt;
        } catch (MillraceException e) {
            messages.removeLast();
            throw e;
        }
    }

    /** Adds what the model answered to the last question. */
    public void answer(String content) {
        messages.add(Message.assistant(content));
    }

    /** Takes back the last question, as when its answer was stopped before it began. */
    public void retract() {
        messages.removeLast();
    }

    /** Forgets everything but the system message. */
    public void reset() {
        messages.clear();
        dropped = 0;
    }

    /** The messages that are remembered, the system message first. */
    public List<Message> messages() {
        return from(0);
    }

    /** How many turns have been forgotten since the beginning. */
    public int dropped() {
        return dropped;
    }

    private String prompt(int first) {
        return template.render(from(first), true);
    }

    private List<Message> from(int first) {
        List<Message> shown = new ArrayList<>();
        if (system != null) {
            shown.add(system);
        }
        shown.addAll(messages.subList(first, messages.size()));
        return shown;
    }

    /** Where the turn after the one at this place begins. */
    private int nextTurn(int at) {
        int next = at + 1;
        while (next < messages.size() && !messages.get(next).role().equals("user")) {
            next++;
        }
        return next;
    }
}
