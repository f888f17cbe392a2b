package dev.millrace.models.cli;

import dev.millrace.core.MillraceException;
import dev.millrace.models.GenerateOptions;
import dev.millrace.models.Generation;
import dev.millrace.models.GenerationSink;
import dev.millrace.models.Model;
import java.util.LinkedHashMap;
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

    @Mixin
    private SamplingOptions sampling;

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
        GenerateOptions options = sampling.options(
                maxTokens == null ? GenerateOptions.DEFAULT_MAX_TOKENS : maxTokens, !noKvCache);
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

    static String stats(Generation done, long seed) {
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
