package dev.millrace.models.cli;

import dev.millrace.core.MillraceException;
import dev.millrace.models.Model;
import dev.millrace.models.Perplexity;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code perplexity}: how well the model predicts a file's text. */
@Command(name = "perplexity", description = "Measures how well the model predicts a text, in windows without overlap.")
final class PerplexityCommand extends CliCommand {
    @Mixin
    private ModelOptions modelOptions;

    @Mixin
    private DeviceOptions deviceOptions;

    @Mixin
    private OutputOptions output;

    @Option(names = "--file", paramLabel = "FILE", required = true, description = "The text, in UTF-8.")
    private Path file;

    @Option(
            names = "--ctx",
            paramLabel = "N",
            converter = DeviceOptions.Positive.class,
            description = "Tokens of a window, at least 2 (default: the model's context).")
    private Integer window;

    @Override
    protected int run() {
        if (window != null && window < 2) {
            throw new UsageException("--ctx " + window + ": a window needs at least 2 tokens");
        }
        String text = read();
        try (Run run = Run.open(modelOptions, deviceOptions, this::say, this::check)) {
            Model model = run.model();
            int ctx = window == null ? model.contextLength() : window;
            int[] tokens = model.tokenizer().encode(text, false);
            Perplexity result;
            try (Progress progress = Progress.of("perplexity", tokens.length)) {
                result = Perplexity.of(run.engine(), tokens, ctx, done -> {
                    Interrupt.check();
                    progress.at(done);
                });
            }
            if (output.json()) {
                Map<String, Object> json = new LinkedHashMap<>();
                json.put("perplexity", result.perplexity());
                json.put("tokens", result.tokens());
                json.put("nll", result.nll());
                json.put("ctx", ctx);
                json.put("executor", run.executor().name());
                OutputOptions.print(out(), json);
            } else {
                out().printf(Locale.ROOT, "perplexity %.4f over %d scored tokens (nll %.6f, windows of %d)%n",
                        result.perplexity(), result.tokens(), result.nll(), ctx);
            }
        }
        return 0;
    }

    private void check(Model model) {
        model.requireDecoder("perplexity");
        if (window != null && window > model.contextLength()) {
            throw new MillraceException("--ctx " + window + " is more than " + model.name() + "'s context of "
                    + model.contextLength());
        }
        model.prepareTokenizer();
    }

    private String read() {
        try {
            return Files.readString(file);
        } catch (NoSuchFileException e) {
            throw new MillraceException("--file " + file + ": no such file", e);
        } catch (CharacterCodingException e) {
            throw new MillraceException("--file " + file + " is not UTF-8; convert it first", e);
        } catch (IOException e) {
            throw new MillraceException("--file " + file + " cannot be read: " + e.getMessage(), e);
        }
    }
}
