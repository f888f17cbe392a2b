package dev.millrace.models.cli;

import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.models.Model;
import dev.millrace.models.quantize.Quantizer;
import dev.millrace.models.quantize.Quantizer.Report;
import dev.millrace.models.quantize.Quantizer.TensorReport;
import dev.millrace.quant.QuantError;
import dev.millrace.quant.WeightRequest;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code quantize}: a checkpoint in another weight format. */
@Command(
        name = "quantize",
        description = "Writes a model with its matrices in another format, with the error of every tensor.")
final class QuantizeCommand extends CliCommand {
    @Option(
            names = {"-m", "--model"},
            paramLabel = "MODEL",
            description = "A directory or a file (default: the embedded " + Model.EMBEDDED + ").")
    private String model;

    @Option(
            names = "--to",
            required = true,
            paramLabel = "FORMAT",
            description = "f32, f16, bf16, int8, int4; in a GGUF file also q4_1, q5_0, q5_1, or native to keep each as it is.")
    private String to;

    @Option(
            names = "-o",
            required = true,
            paramLabel = "OUT",
            description = "A .gguf file, which llama.cpp opens too, or a new directory for a Hugging Face checkpoint,"
                    + " whose linear layers become GPTQ for int8 and int4.")
    private Path target;

    @Option(names = "--force", description = "Write over a file that exists.")
    private boolean force;

    @Mixin
    private OutputOptions output;

    @Override
    protected int run() {
        Optional<WeightFormat> format = format();
        boolean gguf = String.valueOf(target.getFileName()).toLowerCase(Locale.ROOT).endsWith(".gguf");
        if (!gguf && format.isEmpty()) {
            throw new UsageException("--to native only makes sense for a .gguf file");
        }
        if (gguf && !force && Files.exists(target)) {
            throw new UsageException(target + " is there already; --force writes over it");
        }
        try (Model opened = model == null ? Model.embedded() : Model.open(model);
                Progress progress = Progress.of("quantize", opened.weights().names().size())) {
            boolean text = !output.json();
            if (text) {
                out().printf("%-44s %-16s %-5s %-5s %12s %10s %10s%n", "tensor", "shape", "from", "to", "bytes", "max", "rms/ref");
            }
            Consumer<TensorReport> each = tensor -> {
                Interrupt.check();
                if (text) {
                    progress.aside(() -> {
                        out().println(row(tensor));
                        out().flush();
                    });
                }
                progress.step();
            };
            Report report = gguf
                    ? Quantizer.toGguf(opened, format, target, each)
                    : Quantizer.toDirectory(opened, format.orElseThrow(), target, each);
            if (text) {
                out().printf(Locale.ROOT, "%s: %d tensors, %.1f MB, before %.1f MB%n", target, report.tensors().size(),
                        report.bytesAfter() / 1e6, report.bytesBefore() / 1e6);
                out().flush();
            } else {
                OutputOptions.print(out(), json(opened, report));
            }
        }
        return 0;
    }

    private Optional<WeightFormat> format() {
        Optional<WeightRequest> request = WeightRequest.of(to);
        if (request.isPresent()) {
            return request.get().format();
        }
        for (WeightFormat format : List.of(WeightFormat.Q4_1, WeightFormat.Q5_0, WeightFormat.Q5_1)) {
            if (format.label().equals(to)) {
                return Optional.of(format);
            }
        }
        throw new UsageException("--to '" + to + "' is none of " + WeightRequest.labels() + ", q4_1, q5_0, q5_1");
    }

    private static String row(TensorReport t) {
        return String.format(
                Locale.ROOT,
                "%-44s %-16s %-5s %-5s %12d %10s %10s%s",
                t.name(),
                t.shape(),
                t.from().label(),
                t.to().label(),
                t.bytesAfter(),
                t.error().map(e -> String.format(Locale.ROOT, "%.3g", e.maxAbs())).orElse("0"),
                t.error().map(e -> String.format(Locale.ROOT, "%.3g", e.relativeRms())).orElse("0"),
                t.note().map(note -> "  (" + note + ")").orElse(""));
    }

    private Map<String, Object> json(Model opened, Report report) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("model", opened.name());
        json.put("file", report.file().toString());
        json.put("to", to);
        json.put("bytes_before", report.bytesBefore());
        json.put("bytes_after", report.bytesAfter());
        List<Object> tensors = new ArrayList<>();
        for (TensorReport t : report.tensors()) {
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("name", t.name());
            line.put("shape", List.of(t.shape().rows(), t.shape().columns()));
            line.put("from", t.from().label());
            line.put("to", t.to().label());
            line.put("bytes", t.bytesAfter());
            line.put("max_abs_error", t.error().map(QuantError::maxAbs).orElse(0.0));
            line.put("rms_error", t.error().map(QuantError::rms).orElse(0.0));
            line.put("relative_rms_error", t.error().map(QuantError::relativeRms).orElse(0.0));
            t.note().ifPresent(note -> line.put("note", note));
            tensors.add(line);
        }
        json.put("tensors", tensors);
        return json;
    }
}
