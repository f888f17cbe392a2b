package dev.millrace.models.quantize;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.models.Model;
import dev.millrace.models.checkpoint.GgufCheckpoint;
import dev.millrace.models.checkpoint.GgufValue;
import dev.millrace.models.checkpoint.GgufWriter;
import dev.millrace.models.checkpoint.HuggingFaceCheckpoint;
import dev.millrace.models.checkpoint.Tensor;
import dev.millrace.models.tokenizer.GgufTokenizer;
import dev.millrace.models.tokenizer.Tokenizers;
import dev.millrace.quant.Codecs;
import dev.millrace.quant.QuantError;
import dev.millrace.quant.Views;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Writes a model with its matrices in another format, as a GGUF file or a directory. In GGUF norms, biases and
 * position embeddings are F32, as llama.cpp wants them; a matrix whose rows do not fill the format's blocks becomes F16.
 */
public final class Quantizer {
    private static final Set<WeightFormat> FOUR_BITS =
            Set.of(WeightFormat.Q4_0, WeightFormat.Q4_1, WeightFormat.Q4_K, WeightFormat.IQ4_NL, WeightFormat.IQ4_XS);

    /**
     * What became of a tensor.
     *
     * @param error how far it is from the original; empty where its numbers are the same
     * @param note why it has another format than was asked for
     */
    public record TensorReport(
            String name,
            Shape shape,
            WeightFormat from,
            WeightFormat to,
            long bytesBefore,
            long bytesAfter,
            Optional<QuantError> error,
            Optional<String> note) {}

    /** All tensors, in file order. */
    public record Report(Path file, List<TensorReport> tensors) {
        public Report {
            tensors = List.copyOf(tensors);
        }

        public long bytesBefore() {
            return tensors.stream().mapToLong(TensorReport::bytesBefore).sum();
        }

        public long bytesAfter() {
            return tensors.stream().mapToLong(TensorReport::bytesAfter).sum();
        }
    }

    private Quantizer() {}

    /**
     * Writes a Hugging Face checkpoint as a new directory of the same kind, its matrices as f32, f16 or bf16, or its linear
     * layers as symmetric GPTQ of 8 bits (Q8_0) or 4 bits (Q4_0), whose numbers are those of the blocks.
     *
     * @throws MillraceException when {@code to} has no form there, the directory exists or cannot be made
     */
    public static Report toDirectory(Model model, WeightFormat to, Path directory, Consumer<TensorReport> progress) {
        return DirectoryExport.write(model, to, directory, progress);
    }

    /**
     * Writes {@code model} to {@code file}.
     *
     * @param to the format of its matrices; empty keeps what each has
     * @param progress told of every tensor, in order, once its error is known and before it is written
     * @throws MillraceException when the format cannot be written, the model has no GGUF form or the file cannot be made
     */
    public static Report toGguf(Model model, Optional<WeightFormat> to, Path file, Consumer<TensorReport> progress) {
        to.filter(format -> !Codecs.of(format).encodes()).ifPresent(format -> {
            throw new MillraceException("format " + format.label() + " can be read but not written: choose f32, f16, bf16,"
                    + " int8, int4, q4_1, q5_0 or q5_1");
        });
        GgufWriter writer = new GgufWriter();
        Map<String, Weight> tensors = switch (model.checkpoint().orElse(null)) {
            case GgufCheckpoint gguf -> copied(gguf, to, writer);
            case HuggingFaceCheckpoint files -> named(model, files, to, writer);
            case null -> throw new MillraceException(model.name() + " has random weights, which are not worth a file");
        };
        List<TensorReport> reports = new ArrayList<>();
        tensors.forEach((name, weight) -> {
            TensorReport report = add(name, weight, to, writer);
            reports.add(report);
            progress.accept(report);
        });
        writer.write(file);
        return new Report(file, reports);
    }

    private static Map<String, Weight> named(
            Model model, HuggingFaceCheckpoint files, Optional<WeightFormat> to, GgufWriter writer) {
        GgufModel gguf = new GgufModel(model);
        gguf.metadata(writer);
        types(to, writer);
        if (Tokenizers.isIn(files.directory())) {
            GgufTokenizer.write(files.directory(), model.config().vocab(), writer);
            model.config().bos().stream().findFirst().ifPresent(id -> writer.u32("tokenizer.ggml.bos_token_id", id));
            List<Integer> ends = model.config().eos();
            if (!ends.isEmpty()) {
                writer.u32("tokenizer.ggml.eos_token_id", ends.getFirst());
            }
            if (ends.size() > 1) {
                writer.u32("tokenizer.ggml.eot_token_id", ends.get(1));
            }
        } else {
            writer.string("tokenizer.ggml.model", "no_vocab");
        }
        return gguf.tensors();
    }

    private static Map<String, Weight> copied(GgufCheckpoint gguf, Optional<WeightFormat> to, GgufWriter writer) {
        for (Map.Entry<String, GgufValue> entry : gguf.metadata().values().entrySet()) {
            boolean replaced = to.isPresent()
                    && (entry.getKey().equals("general.file_type") || entry.getKey().equals("general.quantization_version"));
            if (!replaced) {
                writer.put(entry.getKey(), entry.getValue());
            }
        }
        if (to.isPresent()) {
            types(to, writer);
        }
        Map<String, Weight> tensors = new LinkedHashMap<>();
        for (Tensor tensor : gguf.tensors().values()) {
            if (tensor.dims().size() > 2) {
                throw new MillraceException(gguf.path() + ": tensor " + tensor.name() + " has " + tensor.dims().size()
                        + " dimensions, of which only two are written");
            }
            tensors.put(tensor.name(), tensor.weight());
        }
        return tensors;
    }

    private static void types(Optional<WeightFormat> to, GgufWriter writer) {
        writer.u32("general.quantization_version", 2);
        to.ifPresent(format -> writer.u32("general.file_type", switch (format) {
            case F32 -> 0;
            case F16 -> 1;
            case Q4_0 -> 2;
            case Q4_1 -> 3;
            case Q8_0 -> 7;
            case Q5_0 -> 8;
            case Q5_1 -> 9;
            case BF16 -> 32;
            default -> throw new AssertionError(format);
        }));
    }

    private static TensorReport add(String name, Weight weight, Optional<WeightFormat> to, GgufWriter writer) {
        Optional<String> note = Optional.empty();
        WeightFormat format;
        if (!matrix(name, weight)) {
            format = weight.format().quantized() ? weight.format() : WeightFormat.F32;
        } else if (to.isEmpty() || to.get() == weight.format()) {
            format = weight.format();
        } else if (!to.get().fits(weight.shape().columns())) {
            format = WeightFormat.F16;
            note = Optional.of("rows of " + weight.shape().columns() + " fill no blocks of " + to.get().blockElements());
        } else if (to.get() == WeightFormat.Q4_0 && FOUR_BITS.contains(weight.format())) {
            format = weight.format();
            note = Optional.of("has 4 bits already");
        } else {
            format = to.get();
        }
        Weight written = Views.converted(weight, format);
        writer.add(name, written);
        Optional<QuantError> error = written == weight ? Optional.empty() : Optional.of(QuantError.between(weight, written));
        return new TensorReport(
                name, weight.shape(), weight.format(), format, weight.bytes(), written.bytes(), error, note);
    }

    /** Whether a tensor is one that is multiplied or looked up by token: these take the format. */
    private static boolean matrix(String name, Weight weight) {
        return weight.shape().rows() > 1
                && name.endsWith(".weight")
                && !name.equals("position_embd.weight")
                && !name.equals("token_types.weight");
    }
}
