package dev.millrace.models.cli;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.Probe;
import dev.millrace.core.executor.Support;
import dev.millrace.core.graph.Node;
import dev.millrace.core.tensor.Weight;
import dev.millrace.models.Model;
import dev.millrace.models.checkpoint.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code inspect}: what is in a model, and what would run where. */
@Command(name = "inspect", description = "Shows a model's configuration, tensors, formats and bytes, and what would run it.")
final class InspectCommand extends CliCommand {
    @Parameters(
            arity = "0..1",
            paramLabel = "MODEL",
            description = "A directory, a file, or synthetic:NAME (default: the embedded " + Model.EMBEDDED + ").")
    private String positional;

    @Option(names = {"-m", "--model"}, paramLabel = "MODEL", description = "The same, as the other commands take it.")
    private String option;

    @Mixin
    private OutputOptions output;

    /** A tensor of the checkpoint, or a weight of a synthetic model. */
    private record TensorLine(String name, String format, List<Long> shape, long bytes) {}

    /** What an executor would do with the model. */
    private record RunsOn(String executor, boolean available, String reason) {}

    @Override
    protected int run() {
        if (positional != null && option != null) {
            throw new UsageException("the model was given twice: " + positional + " and --model " + option);
        }
        String named = positional != null ? positional : option;
        try (Model model = named == null ? Model.embedded() : Model.open(named)) {
            List<TensorLine> tensors = tensors(model);
            Map<String, long[]> formats = new TreeMap<>();
            tensors.forEach(t -> {
                long[] sum = formats.computeIfAbsent(t.format(), f -> new long[2]);
                sum[0]++;
                sum[1] += t.bytes();
            });
            List<RunsOn> runs = Executors.discover().stream().map(found -> runsOn(found, model)).toList();
            if (output.json()) {
                OutputOptions.print(out(), json(model, tensors, formats, runs));
            } else {
                print(model, tensors, formats, runs);
            }
        }
        return 0;
    }

    private static List<TensorLine> tensors(Model model) {
        List<TensorLine> lines = new ArrayList<>();
        model.checkpoint().ifPresentOrElse(
                files -> files.tensors().values().forEach(t -> lines.add(line(t))),
                () -> model.weights().names().forEach(name -> lines.add(line(name, model.weights().get(name)))));
        return lines;
    }

    private static TensorLine line(Tensor t) {
        return new TensorLine(t.name(), t.type(), t.dims(), t.data().byteSize());
    }

    private static TensorLine line(String name, Weight w) {
        List<Long> shape = w.shape().rows() == 1 ? List.of(w.shape().columns()) : List.of(w.shape().rows(), w.shape().columns());
        return new TensorLine(name, w.format().name(), shape, w.bytes());
    }

    private static RunsOn runsOn(Executors.Found found, Model model) {
        if (!(found.probe() instanceof Probe.Available)) {
            return new RunsOn(found.name(), false, found.reason());
        }
        try (Executor executor = found.open()) {
            for (Node node : model.graph().nodes()) {
                if (executor.supports(node.op()) instanceof Support.Declined(String reason)) {
                    return new RunsOn(found.name(), false, node.path() + ": " + reason);
                }
            }
            String conversions = model.weights().names().stream()
                    .map(name -> model.weights().get(name).format())
                    .filter(format -> !executor.formats().contains(format))
                    .distinct()
                    .map(Enum::name)
                    .collect(Collectors.joining(", "));
            String device = executor.device().name() + ", " + executor.device().detail();
            return new RunsOn(found.name(), true, conversions.isEmpty() ? device : device + "; converts " + conversions);
        }
    }

    private static Map<String, Object> json(
            Model model, List<TensorLine> tensors, Map<String, long[]> formats, List<RunsOn> runs) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("model", model.name());
        json.put("config", model.config());
        json.put("tokenizer", model.hasTokenizer());
        json.put("outputs", model.graph().outputs().keySet());
        json.put("parameters", parameters(tensors));
        json.put("bytes", tensors.stream().mapToLong(TensorLine::bytes).sum());
        Map<String, Object> byFormat = new LinkedHashMap<>();
        formats.forEach((format, sum) -> byFormat.put(format, Map.of("tensors", sum[0], "bytes", sum[1])));
        json.put("formats", byFormat);
        json.put("unused_tensors", model.parts().unused());
        json.put("executors", runs);
        json.put("tensors", tensors);
        return json;
    }

    private static long parameters(List<TensorLine> tensors) {
        return tensors.stream().mapToLong(t -> t.shape().stream().reduce(1L, Math::multiplyExact)).sum();
    }

    private void print(Model model, List<TensorLine> tensors, Map<String, long[]> formats, List<RunsOn> runs) {
        out().println(model.name() + ": " + model.config().family() + ", " + (model.config().encoder() ? "encoder" : "decoder"));
        out().println("  config      " + model.config());
        out().printf(Locale.ROOT, "  size        %,d elements in %d tensors, %,d bytes%n",
                parameters(tensors), tensors.size(), tensors.stream().mapToLong(TensorLine::bytes).sum());
        out().println("  formats     " + formats.entrySet().stream()
                .map(e -> e.getKey() + " x " + e.getValue()[0] + " (" + String.format(Locale.ROOT, "%,d", e.getValue()[1]) + " bytes)")
                .collect(Collectors.joining(", ")));
        out().println("  tokenizer   " + (model.hasTokenizer() ? "yes" : "none: give ids"));
        out().println("  gives       " + String.join(", ", model.graph().outputs().keySet()));
        if (!model.parts().unused().isEmpty()) {
            out().println("  unused      " + String.join(", ", model.parts().unused()));
        }
        runs.forEach(r -> out().println("  " + (r.available() ? "runs on     " : "not on      ") + r.executor() + ": " + r.reason()));
        out().println("tensors:");
        tensors.forEach(t -> out().printf(Locale.ROOT, "  %-48s %-5s %-16s %,14d%n", t.name(), t.format(), t.shape(), t.bytes()));
    }
}
