package dev.millrace.models.cli;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Value;
import dev.millrace.models.Engine;
import dev.millrace.models.Model;
import dev.millrace.models.checkpoint.SafetensorsWriter;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code embed}: what an encoder makes of a text. */
@Command(name = "embed", description = "Runs an encoder: one vector per token and one for the text.")
final class EmbedCommand extends CliCommand {
    private static final int SHOWN = 8;

    @Parameters(arity = "0..1", paramLabel = "TEXT", description = "The text.")
    private String text;

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
            names = "-o",
            paramLabel = "FILE",
            description = "Write last_hidden_state F32 [tokens, hidden], pooled F32 [hidden] and, of a classifier,"
                    + " logits F32 [labels] to this safetensors file.")
    private Path file;

    /** One output of the graph: {@code rows} of {@code width}. */
    private record Result(int rows, int width, float[] values, boolean perToken) {
        long[] dims() {
            return perToken ? new long[] {rows, width} : new long[] {width};
        }
    }

    @Override
    protected int run() {
        if ((text == null) == (ids == null)) {
            throw new UsageException(text == null ? "give a text or --ids 1,2,3" : "a text and --ids were given; give one");
        }
        try (Run run = Run.open(modelOptions, deviceOptions, this::say, this::tokens)) {
            int[] tokens = tokens(run.model());
            Map<String, Result> results = new LinkedHashMap<>();
            for (String name : run.engine().program().graph().outputs().keySet()) {
                results.put(name, forward(run.engine(), name, tokens));
            }
            if (file != null) {
                SafetensorsWriter writer = new SafetensorsWriter();
                results.forEach((name, result) -> writer.add(name, result.values(), result.dims()));
                writer.write(file);
            }
            print(tokens, results);
        }
        return 0;
    }

    private int[] tokens(Model model) {
        model.requireEncoder("embed");
        return model.checked(ids != null ? ids.ids() : model.tokenizer().encode(text, true));
    }

    private static Result forward(Engine engine, String output, int[] tokens) {
        Value value = engine.program().graph().output(output);
        boolean perToken = value.rows() != Value.Rows.SEQUENCES;
        int rows = perToken ? tokens.length : 1;
        float[] values = new float[Math.multiplyExact(rows, value.width())];
        try (Session session = engine.newSession(tokens.length)) {
            Slice slice = new Slice(session, tokens, Rows.ALL);
            engine.program().forward(new Batch(List.of(slice), output), MemorySegment.ofArray(values));
        }
        return new Result(rows, value.width(), values, perToken);
    }

    private void print(int[] tokens, Map<String, Result> results) {
        if (output.json()) {
            Map<String, Object> json = new LinkedHashMap<>();
            json.put("ids", tokens);
            results.forEach((name, result) -> json.put(name, result.perToken() ? rows(result) : result.values()));
            json.put("file", file == null ? null : file.toString());
            OutputOptions.print(out(), json);
            return;
        }
        results.forEach((name, result) -> {
            StringBuilder line = new StringBuilder(name + " [");
            line.append(result.perToken() ? result.rows() + ", " : "").append(result.width()).append("]");
            for (int i = 0; !result.perToken() && i < Math.min(SHOWN, result.width()); i++) {
                line.append(String.format(Locale.ROOT, " %.5f", result.values()[i]));
            }
            out().println(line + (!result.perToken() && result.width() > SHOWN ? " ..." : ""));
        });
        if (file != null) {
            out().println("written to " + file);
        }
    }

    private static float[][] rows(Result result) {
        float[][] rows = new float[result.rows()][result.width()];
        for (int i = 0; i < rows.length; i++) {
            System.arraycopy(result.values(), i * result.width(), rows[i], 0, result.width());
        }
        return rows;
    }
}
