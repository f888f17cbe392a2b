package dev.millrace.models.cli;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.models.Model;
import dev.millrace.models.checkpoint.SafetensorsWriter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code logits}: one forward pass. */
@Command(name = "logits", description = "Runs a forward pass and gives the scores of every token over the vocabulary.")
final class LogitsCommand extends CliCommand {
    private static final int BEST = 5;

    @Mixin
    private TextInput input;

    @Mixin
    private ModelOptions modelOptions;

    @Mixin
    private DeviceOptions deviceOptions;

    @Mixin
    private OutputOptions output;

    @Option(
            names = "-o",
            paramLabel = "FILE",
            description = "Write tensor logits, F32 [tokens, vocabulary], to this safetensors file.")
    private Path file;

    /** One of the most probable tokens after the input. */
    private record Best(int id, String text, float logit) {}

    @Override
    protected int run() {
        input.exactlyOne();
        try (Run run = Run.open(modelOptions, deviceOptions, this::say, this::check);
                Arena arena = Arena.ofConfined()) {
            Model model = run.model();
            int[] ids = input.ids(model, true);
            int vocabulary = run.engine().program().graph().output(Graph.LOGITS).width();
            MemorySegment logits = arena.allocate(ValueLayout.JAVA_FLOAT, Math.multiplyExact((long) ids.length, vocabulary));
            try (Session session = run.engine().newSession(ids.length)) {
                run.engine().program().forward(Batch.of(session, ids, Batch.Rows.ALL), logits);
            }
            if (file != null) {
                new SafetensorsWriter().raw("logits", "F32", logits, ids.length, vocabulary).write(file);
            }
            print(model, ids, vocabulary, best(model, logits, ids.length - 1, vocabulary));
        }
        return 0;
    }

    private void check(Model model) {
        model.requireDecoder("logits");
        input.ids(model, true);
    }

    private static List<Best> best(Model model, MemorySegment logits, int row, int vocabulary) {
        long at = (long) row * vocabulary;
        return IntStream.range(0, vocabulary)
                .boxed()
                .sorted(Comparator.comparing(id -> -logits.getAtIndex(ValueLayout.JAVA_FLOAT, at + id)))
                .limit(BEST)
                .map(id -> new Best(
                        id,
                        model.hasTokenizer() ? model.tokenizer().decode(new int[] {id}, false) : null,
                        logits.getAtIndex(ValueLayout.JAVA_FLOAT, at + id)))
                .toList();
    }

    private void print(Model model, int[] ids, int vocabulary, List<Best> best) {
        if (output.json()) {
            Map<String, Object> json = new LinkedHashMap<>();
            json.put("ids", ids);
            json.put("shape", new int[] {ids.length, vocabulary});
            json.put("file", file == null ? null : file.toString());
            json.put("next", best);
            OutputOptions.print(out(), json);
            return;
        }
        out().println("logits [" + ids.length + ", " + vocabulary + "]" + (file == null ? "" : " written to " + file));
        List<String> lines = new ArrayList<>();
        for (Best b : best) {
            lines.add(String.format(Locale.ROOT, "%10.4f  %6d  %s", b.logit(), b.id(), b.text() == null ? "" : quoted(b.text())));
        }
        out().println("most probable after the input:");
        lines.forEach(out()::println);
    }

    private static String quoted(String text) {
        return "'" + text.replace("\n", "\\n") + "'";
    }
}
