package dev.millrace.models.generate;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.models.GenerateOptions;
import dev.millrace.models.Generation;
import dev.millrace.models.Generation.Stop;
import dev.millrace.models.GenerationSink;
import dev.millrace.models.Model;
import java.util.Arrays;

/** Prefill, then one token after the other until something ends it. */
public final class Generator {
    private final Model model;
    private final Program program;
    private final KvFormat kv;

    public Generator(Model model, Program program, KvFormat kv) {
        this.model = model;
        this.program = program;
        this.kv = kv;
    }

    /**
     * Continues {@code prompt}.
     *
     * @throws MillraceException when the model does not generate, or the prompt is empty or leaves no room
     */
    public Generation run(int[] prompt, GenerateOptions options, GenerationSink sink) {
        int room = room(prompt, model.contextLength());
        try (Session session = program.newSession(prompt.length + Math.min(options.maxTokens(), room), kv)) {
            return run(session, prompt, options, sink);
        }
    }

    /**
     * Continues {@code prompt} in a session that may hold other tokens: those it has in common with the prompt's beginning
     * are not computed again, the others are forgotten.
     *
     * @throws MillraceException when the model does not generate, or the prompt is empty or leaves no room
     */
    public Generation run(Session session, int[] prompt, GenerateOptions options, GenerationSink sink) {
        int n = Math.min(options.maxTokens(), room(prompt, Math.min(model.contextLength(), session.capacity())));
        Progress progress = new Progress(n, options, sink);
        progress.start = System.nanoTime();
        if (options.kvCache()) {
            int known = common(session, prompt);
            session.truncate(known);
            session.decode(Arrays.copyOfRange(prompt, known, prompt.length), options.sampling(), n, progress);
        } else {
            withoutCache(session, prompt, options, progress);
        }
        progress.finish();
        if (progress.stop == Stop.LENGTH && n < options.maxTokens()) {
            progress.stop = Stop.CONTEXT;
        }
        return progress.result(prompt);
    }

    /** How many tokens at the beginning the session need not compute again; the last one must, for its scores. */
    private static int common(Session session, int[] prompt) {
        int most = Math.min(session.position(), prompt.length - 1);
        int common = 0;
        while (common < most && session.token(common) == prompt[common]) {
            common++;
        }
        return common;
    }

    private int room(int[] prompt, int context) {
        if (!program.graph().causal()) {
            throw new MillraceException(model.name() + " is an encoder and generates nothing; use: millrace embed");
        }
        if (prompt.length == 0) {
            throw new MillraceException("the prompt is empty; give at least one token");
        }
        if (prompt.length >= context) {
            throw new MillraceException("the prompt has " + prompt.length + " tokens and leaves no room in " + model.name()
                    + "'s context of " + context + "; shorten it to " + (context - 1) + " or fewer");
        }
        return context - prompt.length;
    }

    private static void withoutCache(Session session, int[] prompt, GenerateOptions options, Progress progress) {
        int[] all = Arrays.copyOf(prompt, prompt.length + progress.ids.length);
        while (progress.count < progress.ids.length && progress.stop == Stop.LENGTH) {
            int length = prompt.length + progress.count;
            session.truncate(0);
            session.decode(Arrays.copyOf(all, length), options.sampling(), 1, progress);
            all[length] = progress.ids[progress.count - 1];
        }
    }

    /** Takes the tokens as they come, and decides when to stop. */
    private final class Progress implements Session.TokenSink {
        final int[] ids;
        final GenerationSink sink;
        final TextPieces pieces;
        int count;
        Stop stop = Stop.LENGTH;
        long start;
        long first;
        long last;

        Progress(int n, GenerateOptions options, GenerationSink sink) {
            this.ids = new int[n];
            this.sink = sink;
            if (!model.hasTokenizer() && !options.stop().isEmpty()) {
                throw new MillraceException(model.name() + " has no tokenizer, so it cannot look for stop texts");
            }
            this.pieces = model.hasTokenizer() ? new TextPieces(model.tokenizer(), options.stop()) : null;
        }

        @Override
        public boolean accept(int token) {
            last = System.nanoTime();
            if (count == 0) {
                first = last;
            }
            ids[count++] = token;
            boolean wanted = sink.token(token);
            if (model.isEndOfSequence(token)) {
                stop = Stop.EOS;
            } else {
                if (pieces != null) {
                    String piece = pieces.push(token);
                    wanted &= piece.isEmpty() || sink.text(piece);
                    if (pieces.stopped()) {
                        stop = Stop.STOP;
                    }
                }
                if (!wanted && stop == Stop.LENGTH) {
                    stop = Stop.CANCELLED;
                }
            }
            return stop == Stop.LENGTH;
        }

        void finish() {
            if (pieces != null) {
                String rest = pieces.finish();
                if (!rest.isEmpty() && stop != Stop.CANCELLED) {
                    sink.text(rest);
                }
            }
        }

        Generation result(int[] prompt) {
            double rate = count > 1 ? (count - 1) * 1e9 / (last - first) : Double.NaN;
            return new Generation(
                    pieces == null ? null : pieces.text(),
                    prompt,
                    Arrays.copyOf(ids, count),
                    stop,
                    (first - start) / 1e6,
                    rate);
        }
    }
}
