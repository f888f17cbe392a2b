package dev.millrace.models.cli;

import dev.millrace.core.MillraceException;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.models.GenerateOptions;
import dev.millrace.models.Generation;
import dev.millrace.models.GenerationSink;
import dev.millrace.models.Model;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code generate}: continues a prompt. */
@Command(name = "generate", description = "Continues a text, token by token.")
final class GenerateCommand extends CliCommand {
    @Parameters(
            arity = "0..1",
            paramLabel = "PROMPT",
            description = "The text to continue (default: the model's begin-of-sequence token).")
    private String prompt;

    @Mixin
    private ModelOptions modelOptions;

    @Mixin
    private DeviceOptions deviceOptions;

    @Mixin
    private OutputOptions output;

    @Option(
            names = "--ids",
            paramLabel = "IDS",
            converter = TokenIds.Converter.class,
            description = "Token ids instead of a text: 1,2,3.")
    private TokenIds ids;

    @Option(
            names = {"-n", "--max-tokens"},
            paramLabel = "N",
            converter = DeviceOptions.Positive.class,
            description = "Most new tokens (default: " + GenerateOptions.DEFAULT_MAX_TOKENS + ").")
    private Integer maxTokens;

    @Option(
            names = "--temperature",
            paramLabel = "T",
            defaultValue = "0.8",
            description = "Randomness; 0 takes the most probable token (default: ${DEFAULT-VALUE}).")
    private float temperature;

    @Option(
            names = "--top-k",
            paramLabel = "K",
            defaultValue = "40",
            description = "Keep the K most probable tokens; 0 for all (default: ${DEFAULT-VALUE}).")
    private int topK;

    @Option(
            names = "--top-p",
            paramLabel = "P",
            defaultValue = "0.95",
            description = "Keep the most probable tokens that reach probability P (default: ${DEFAULT-VALUE}).")
    private float topP;

    @Option(
            names = "--min-p",
            paramLabel = "P",
            defaultValue = "0",
            description = "Keep tokens at least P times as probable as the best (default: ${DEFAULT-VALUE}).")
    private float minP;

    @Option(
            names = "--repeat-penalty",
            paramLabel = "R",
            description = "Divide the scores of tokens already there by R (default: 1.1; 1 with --temperature 0).")
    private Float repeatPenalty;

    @Option(names = "--seed", paramLabel = "S", description = "Same seed, same text (default: a fresh one).")
    private Long seed;

    @Option(names = "--stop", paramLabel = "TEXT", description = "End before this text; may be repeated.")
    private List<String> stop = List.of();

    @Option(names = "--no-kv-cache", description = "Compute every earlier token again for each new one.")
    private boolean noKvCache;

    @Option(names = "--stats", description = "Print the seed and timings to standard error.")
    private boolean stats;

    @Override
    protected int run() {
        if (prompt != null && ids != null) {
            throw new UsageException("a prompt and --ids were given; give one of them");
        }
        if (prompt != null && prompt.isEmpty()) {
            throw new UsageException("the prompt is empty; leave it out to begin with the model's begin-of-sequence token");
        }
        GenerateOptions options = options();
        try (Run run = Run.open(modelOptions, deviceOptions, this::say, this::check)) {
            Generation done = run.engine().generate(promptIds(run.model()), options, sink(run.model()));
            if (output.json()) {
                OutputOptions.print(out(), json(done, run.executor().name(), options.sampling().seed()));
            } else {
                out().println();
                out().flush();
            }
            if (stats) {
                say(stats(done, options.sampling().seed()));
            }
        }
        return 0;
    }

    private GenerateOptions options() {
        try {
            long chosen = seed == null ? GenerateOptions.freshSeed() : seed;
            float penalty = repeatPenalty != null ? repeatPenalty : temperature == 0 ? 1 : 1.1f;
            return new GenerateOptions(
                    maxTokens == null ? GenerateOptions.DEFAULT_MAX_TOKENS : maxTokens,
                    new Sampling(penalty, temperature, topK, topP, minP, chosen),
                    stop,
                    !noKvCache);
        } catch (IllegalArgumentException e) {
            throw new UsageException(e.getMessage());
        }
    }

    /** What can be refused early is; a tokenizer that will be needed is opened while the executor compiles. */
    private void check(Model model) {
        model.requireDecoder("generate");
        if (ids != null) {
            model.checked(ids.ids());
        }
        if (prompt != null && !model.hasTokenizer()) {
            model.tokenizer();
        }
        model.prepareTokenizer();
    }

    private int[] promptIds(Model model) {
        if (ids != null) {
            return ids.ids();
        }
        if (prompt != null) {
            return model.tokenizer().encode(prompt, true);
        }
        return new int[] {
            model.beginOfSequence()
                    .orElseThrow(() -> new MillraceException(
                            model.name() + " names no begin-of-sequence token; give a prompt or --ids"))
        };
    }

    /** Text as it comes; ids parted by commas where the model has no tokenizer. */
    private GenerationSink sink(Model model) {
        boolean showIds = !model.hasTokenizer();
        return new GenerationSink() {
            private boolean started;

            @Override
            public boolean token(int id) {
                if (showIds && !output.json()) {
                    show((started ? "," : "") + id);
                    started = true;
                }
                return !Interrupt.requested() && !out().checkError();
            }

            @Override
            public boolean text(String piece) {
                if (!output.json()) {
                    show(piece);
                }
                return true;
            }
        };
    }

    private void show(String piece) {
        out().print(piece);
        out().flush();
    }

    private static Map<String, Object> json(Generation done, String executor, long seed) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("text", done.text());
        json.put("prompt_ids", done.promptIds());
        json.put("ids", done.ids());
        json.put("ttft_ms", done.ttftMillis());
        json.put("decode_tokens_per_s", Double.isNaN(done.decodeTokensPerSecond()) ? null : done.decodeTokensPerSecond());
        json.put("executor", executor);
        json.put("seed", seed);
        json.put("stop_reason", done.stop().name().toLowerCase(Locale.ROOT));
        return json;
    }

    private static String stats(Generation done, long seed) {
        return String.format(
                Locale.ROOT,
                "seed %d; %d prompt tokens, first token after %.1f ms; %d new tokens%s; ended by %s",
                seed,
                done.promptIds().length,
                done.ttftMillis(),
                done.ids().length,
                Double.isNaN(done.decodeTokensPerSecond())
                        ? ""
                        : String.format(Locale.ROOT, ", %.1f tokens/s after the first", done.decodeTokensPerSecond()),
                done.stop().name().toLowerCase(Locale.ROOT));
    }
}
