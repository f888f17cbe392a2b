package dev.millrace.models.quantize;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.models.Model;
import dev.millrace.models.checkpoint.HuggingFaceCheckpoint;
import dev.millrace.models.checkpoint.Json;
import dev.millrace.models.checkpoint.SafetensorsWriter;
import dev.millrace.models.checkpoint.Tensor;
import dev.millrace.models.quantize.Quantizer.Report;
import dev.millrace.models.quantize.Quantizer.TensorReport;
import dev.millrace.quant.QuantError;
import dev.millrace.quant.Views;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Stream;
import tools.jackson.databind.node.ObjectNode;

/**
 * Writes a Hugging Face directory again, its matrices in another float format, or its linear layers as symmetric GPTQ of 4
 * or 8 bits with groups of 32 (output layer and embeddings become F16 then). Everything else in it is copied.
 */
final class DirectoryExport {
    private final HuggingFaceCheckpoint files;
    private final WeightFormat to;
    private final Set<String> tables = new HashSet<>();
    private final Set<String> transposed = new HashSet<>();
    private final SafetensorsWriter writer = new SafetensorsWriter().metadata("format", "pt");
    private final List<TensorReport> reports = new ArrayList<>();
    private boolean packed;

    private DirectoryExport(Model model, HuggingFaceCheckpoint files, WeightFormat to) {
        this.files = files;
        this.to = to;
        for (Node node : model.graph().nodes()) {
            if (node.op() instanceof Op.Embed e) {
                tables.add(model.weights().get(e.table()).name());
            }
        }
        if (model.config().family().equals("gpt2")) {
            files.names().stream().filter(name -> name.matches(".*\\.c_(attn|proj|fc)\\.weight")).forEach(transposed::add);
        }
    }

    static Report write(Model model, WeightFormat to, Path directory, Consumer<TensorReport> progress) {
        if (!(model.checkpoint().orElse(null) instanceof HuggingFaceCheckpoint files)) {
            throw new MillraceException(model.name() + " is no Hugging Face checkpoint: only one of those is written as"
                    + " safetensors; name a .gguf file instead");
        }
        if (files.gptq().isPresent()) {
            throw new MillraceException(files.path() + " is quantized by GPTQ already; a .gguf file of it can be written");
        }
        boolean blocks = to == WeightFormat.Q4_0 || to == WeightFormat.Q8_0;
        if (to.quantized() && !blocks) {
            throw new MillraceException("safetensors has no form for " + to.label()
                    + ": choose f32, f16, bf16, int8 or int4, or name a .gguf file");
        }
        if (Files.exists(directory)) {
            throw new MillraceException(directory + " is there already: name a new directory");
        }
        DirectoryExport export = new DirectoryExport(model, files, to);
        for (Tensor tensor : files.tensors().values()) {
            export.add(tensor).ifPresent(report -> {
                export.reports.add(report);
                progress.accept(report);
            });
        }
        try {
            Files.createDirectories(directory);
            export.writer.write(directory.resolve("model.safetensors"));
            export.rest(directory);
        } catch (IOException e) {
            throw new MillraceException(directory + ": cannot be written: " + e, e);
        }
        return new Report(directory, export.reports);
    }

    private Optional<TensorReport> add(Tensor tensor) {
        if (tensor.format().isEmpty() || tensor.elements() == 0) {
            writer.raw(tensor.name(), tensor.type(), tensor.data(), dims(tensor));
            return Optional.empty();
        }
        Weight weight = tensor.weight();
        boolean matrix = tensor.dims().size() == 2 && tensor.name().endsWith(".weight");
        if (!matrix || !to.quantized()) {
            Weight written = matrix ? Views.converted(weight, to) : weight;
            writer.add(tensor.name(), written, dims(tensor));
            return Optional.of(report(weight, written, written.bytes(), Optional.empty()));
        }
        Weight linear = transposed.contains(tensor.name()) ? Views.transposed(tensor.name(), weight) : weight;
        boolean table = tables.contains(tensor.name()) || tensor.name().equals("lm_head.weight");
        if (table || !GptqLayer.fits(linear)) {
            Weight written = Views.converted(weight, WeightFormat.F16);
            writer.add(tensor.name(), written, dims(tensor));
            return Optional.of(report(weight, written, written.bytes(), Optional.of(
                    table ? "a table or the output layer" : "its sizes do not fill GPTQ's words")));
        }
        Weight blocks = Views.converted(linear, to);
        GptqLayer.write(tensor.name().substring(0, tensor.name().length() - ".weight".length()), blocks, writer);
        packed = true;
        return Optional.of(report(linear, blocks, blocks.bytes(), Optional.empty()));
    }

    private static TensorReport report(Weight before, Weight after, long bytes, Optional<String> note) {
        return new TensorReport(
                before.name(),
                before.shape(),
                before.format(),
                after.format(),
                before.bytes(),
                bytes,
                before == after ? Optional.empty() : Optional.of(QuantError.between(before, after)),
                note);
    }

    private static long[] dims(Tensor tensor) {
        return tensor.dims().stream().mapToLong(Long::longValue).toArray();
    }

    /** config.json with what changed, and the files that are no weights. */
    private void rest(Path directory) throws IOException {
        ObjectNode config = ((ObjectNode) files.config()).deepCopy();
        String type = switch (to) {
            case F32 -> "float32";
            case BF16 -> "bfloat16";
            default -> "float16";
        };
        config.put(config.has("torch_dtype") ? "torch_dtype" : "dtype", type);
        if (packed) {
            ObjectNode quantization = config.putObject("quantization_config");
            quantization.put("quant_method", "gptq").put("bits", to == WeightFormat.Q4_0 ? 4 : 8).put("group_size", 32);
            quantization.put("desc_act", false).put("sym", true).put("checkpoint_format", "gptq");
        }
        Json.write(config, directory.resolve("config.json"));
        try (Stream<Path> others = Files.list(files.directory())) {
            for (Path file : others.filter(Files::isRegularFile).filter(DirectoryExport::kept).toList()) {
                Files.copy(file, directory.resolve(file.getFileName().toString()));
            }
        }
        Path pooling = files.directory().resolve("1_Pooling").resolve("config.json");
        if (Files.exists(pooling)) {
            Files.createDirectories(directory.resolve("1_Pooling"));
            Files.copy(pooling, directory.resolve("1_Pooling").resolve("config.json"));
        }
    }

    private static boolean kept(Path file) {
        String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
        boolean weights = name.endsWith(".safetensors") || name.endsWith(".bin") || name.endsWith(".gguf")
                || name.endsWith(".index.json") || name.endsWith(".h5") || name.endsWith(".msgpack");
        return !weights && !name.equals("config.json") && (name.endsWith(".json") || name.endsWith(".txt")
                || name.endsWith(".model") || name.endsWith(".jinja") || name.startsWith("license"));
    }
}
