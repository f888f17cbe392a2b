package dev.millrace.models.cli;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Session;
import dev.millrace.models.Engine;
import dev.millrace.models.GenerateOptions;
import dev.millrace.models.Generation;
import dev.millrace.models.GenerationSink;
import dev.millrace.models.Model;
import dev.millrace.models.chat.ChatTemplate;
import dev.millrace.models.chat.ChatTemplates;
import dev.millrace.models.chat.Conversation;
import dev.millrace.models.chat.EndOfTurn;
import dev.millrace.models.tokenizer.Tokenizer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code chat}: a conversation, in the words that the model's chat template puts round it. */
@Command(
        name = "chat",
        description = "Talks with a model: each line of input gets an answer.",
        footer = {
            "",
            "In a conversation: /reset forgets it, /help lists commands, /exit ends it; Ctrl-C stops an answer."
        })
final class ChatCommand extends CliCommand {
    private static final int DEFAULT_MAX_TOKENS = 512;
    private static final int DEFAULT_CONTEXT = 4096;

    @Mixin private ModelOptions modelOptions;

    @Mixin private DeviceOptions deviceOptions;

    @Option(
            names = "--system",
            paramLabel = "TEXT",
            description = "What the model is told before the conversation.")
    private String system;

    @Option(
            names = "--template",
            paramLabel = "NAME",
            description =
                    "A chat style instead of the model's own template: chatml, gemma, llama2, llama3, mistral, phi3,"
                            + " zephyr, or a file with a Jinja template.")
    private String template;

    @Option(
            names = {"-n", "--max-tokens"},
            paramLabel = "N",
            converter = DeviceOptions.Positive.class,
            description = "Most tokens of an answer (default: " + DEFAULT_MAX_TOKENS + ").")
    private Integer maxTokens;

    @Option(
            names = "--ctx",
            paramLabel = "N",
            converter = DeviceOptions.Positive.class,
            description =
                    "Tokens of conversation to remember; the oldest turns are forgotten (default: the model's"
                            + " context, at most "
                            + DEFAULT_CONTEXT
                            + ").")
    private Integer context;

    @Mixin private SamplingOptions sampling;

    @Option(
            names = "--stats",
            description = "Print the seed and timings of each answer to standard error.")
    private boolean stats;

    @Override
    protected int run() throws IOException {
        GenerateOptions options =
                sampling.options(maxTokens == null ? DEFAULT_MAX_TOKENS : maxTokens, true);
        try (Run run = Run.open(modelOptions, deviceOptions, this::say, this::check)) {
            Model model = run.model();
            ChatTemplate style = ChatTemplates.of(model, template);
            int remembered =
                    context == null ? Math.min(model.contextLength(), DEFAULT_CONTEXT) : context;
            try (Session session = run.engine().newSession(remembered);
                    ChatConsole console = ChatConsole.open(out())) {
                new Talk(run.engine(), session, style, options, console).run();
            }
        }
        return 0;
    }

    /** What can be refused before the weights are loaded is. */
    private void check(Model model) {
        model.requireDecoder("chat");
        if (!model.hasTokenizer()) {
            throw new MillraceException(
                    model.name() + " has no tokenizer, and a conversation is text");
        }
        if (context != null && context > model.contextLength()) {
            throw new UsageException(
                    "--ctx "
                            + context
                            + " is more than "
                            + model.name()
                            + "'s context of "
                            + model.contextLength());
        }
        ChatTemplates.of(model, template);
        model.prepareTokenizer();
    }

    /** The conversation. */
    private final class Talk {
        private final Engine engine;
        private final Session session;
        private final Tokenizer tokenizer;
        private final GenerateOptions options;
        private final ChatConsole console;
        private final Conversation conversation;
        private final EndOfTurn end;
        private final int budget;

        Talk(
                Engine engine,
                Session session,
                ChatTemplate style,
                GenerateOptions options,
                ChatConsole console) {
            this.engine = engine;
            this.session = session;
            this.console = console;
            this.tokenizer = engine.model().tokenizer();
            this.conversation =
                    new Conversation(style, system, text -> tokenizer.encode(text, false).length);
            this.end = EndOfTurn.of(style, tokenizer);
            List<String> stops = new ArrayList<>(options.stop());
            if (end.text() != null) {
                stops.add(end.text());
            }
            this.options = options.withStop(stops.toArray(String[]::new));
            // Room for an answer, but never most of a short context.
            this.budget =
                    session.capacity()
                            - Math.max(1, Math.min(options.maxTokens(), session.capacity() / 4));
        }

        void run() throws IOException {
            for (String line; !Interrupt.requested() && (line = console.readLine()) != null; ) {
                String text = line.strip();
                switch (text) {
                    case "" -> {}
                    case "/exit", "/quit" -> {
                        return;
                    }
                    case "/reset" -> {
                        conversation.reset();
                        say("the conversation is forgotten");
                    }
                    case "/help" ->
                            say(
                                    "/reset forgets the conversation, /exit ends it; any other line is said to the model");
                    default -> {
                        if (text.startsWith("/")) {
                            say("there is no command " + text.split("\\s", 2)[0] + "; see /help");
                        } else {
                            answer(text);
                        }
                    }
                }
            }
        }

        private void answer(String text) {
            int forgotten = conversation.dropped();
            String prompt;
            try {
                prompt = conversation.ask(text, budget);
            } catch (MillraceException e) {
                // The conversation goes on without this message.
                say(e.getMessage());
                return;
            }
            if (conversation.dropped() > forgotten) {
                int more = conversation.dropped() - forgotten;
                say(
                        "the context is full: the "
                                + (more == 1 ? "oldest turn is" : more + " oldest turns are")
                                + " forgotten");
            }
            console.begin();
            Shown shown = new Shown();
            Generation done =
                    engine.generate(session, tokenizer.encode(prompt, false), options, shown);
            console.print(done.text().substring(shown.characters) + "\n");
            if (done.text().isBlank() && done.stop() == Generation.Stop.CANCELLED) {
                conversation.retract();
            } else {
                conversation.answer(done.text().strip());
            }
            if (stats) {
                say(GenerateCommand.stats(done, options.sampling().seed()));
            }
        }

        /** Shows the answer as it comes, up to the end of the turn. */
        private final class Shown implements GenerationSink {
            int characters;

            @Override
            public boolean token(int id) {
                return !console.stopped()
                        && (end.token().isEmpty() || end.token().getAsInt() != id);
            }

            @Override
            public boolean text(String piece) {
                characters += piece.length();
                console.print(piece);
                return true;
            }
        }
    }
}
