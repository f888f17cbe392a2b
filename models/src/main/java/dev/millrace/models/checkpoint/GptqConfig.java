package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Weight;
import dev.millrace.quant.Gptq;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/**
 * How a checkpoint's linear layers are quantized, from config.json's {@code quantization_config} or else
 * quantize_config.json.
 *
 * @param bits 4 or 8
 * @param groupSize inputs that share a scale, a multiple of 32; -1 for all of them
 * @param actOrder whether groups are scattered over the inputs (desc_act), so that g_idx must be there
 * @param symmetric whether zero points lie in the middle, as the quantizer was told; the tensors decide
 * @param zerosMinusOne whether zero points are stored less one: checkpoint_format gptq, not gptq_v2
 */
public record GptqConfig(int bits, int groupSize, boolean actOrder, boolean symmetric, boolean zerosMinusOne) {

    static Optional<GptqConfig> find(Path directory, JsonNode config) {
        JsonNode inside = config.get("quantization_config");
        Path file = directory.resolve("quantize_config.json");
        if (inside != null && !inside.isNull()) {
            return Optional.of(parse(inside, directory.resolve("config.json") + ": quantization_config"));
        }
        return Files.exists(file) ? Optional.of(parse(Json.read(file), file.toString())) : Optional.empty();
    }

    private static GptqConfig parse(JsonNode node, String where) {
        String method = text(node, "quant_method", "gptq", where);
        if (!method.equals("gptq")) {
            throw wrong(where, "quant_method " + method + " is not read, gptq is");
        }
        int bits = integer(node, "bits", where);
        if (bits != 4 && bits != 8) {
            throw wrong(where, "bits " + bits + " is not read, 4 and 8 are");
        }
        int groupSize = integer(node, "group_size", where);
        if (groupSize != -1 && (groupSize < 32 || groupSize % 32 != 0)) {
            throw wrong(where, "group_size " + groupSize + " is neither -1 nor a multiple of 32");
        }
        String format = text(node, "checkpoint_format", "gptq", where);
        if (!format.equals("gptq") && !format.equals("gptq_v2")) {
            throw wrong(where, "checkpoint_format " + format + " is not read, gptq and gptq_v2 are");
        }
        return new GptqConfig(
                bits, groupSize, flag(node, "desc_act", where), flag(node, "sym", where), format.equals("gptq"));
    }

    /**
     * The linear layer {@code prefix}: its tensors' shapes are held against each other and against this configuration.
     *
     * @throws MillraceException naming the file and tensor that is missing or wrong
     */
    Gptq linear(Checkpoint checkpoint, String prefix) {
        Tensor weights = checkpoint.tensor(prefix + ".qweight");
        Tensor zeros = checkpoint.tensor(prefix + ".qzeros");
        Tensor scales = checkpoint.tensor(prefix + ".scales");
        matrix(weights, "I32");
        matrix(zeros, "I32");
        matrix(scales, null);
        int pack = 32 / bits;
        long in = Math.multiplyExact(weights.dims().get(0), pack);
        long out = weights.dims().get(1);
        long size = groupSize == -1 ? in : groupSize;
        long groups = Math.ceilDiv(in, size);
        expect(zeros, groups, Math.ceilDiv(out, pack));
        expect(scales, groups, out);
        Weight scaleRows = scales.weight();
        int[] index = index(checkpoint, prefix, weights, in, size, groups);
        return Gptq.of(new Gptq.Packed(
                prefix + ".weight", bits, weights.data(), zeros.data(), scaleRows, index, zerosMinusOne));
    }

    private int[] index(Checkpoint checkpoint, String prefix, Tensor weights, long in, long size, long groups) {
        String name = prefix + ".g_idx";
        if (checkpoint.has(name)) {
            Tensor tensor = checkpoint.tensor(name);
            if (tensor.elements() != in) {
                throw new MillraceException(tensor.at() + ": " + tensor.elements() + " elements for " + in + " inputs");
            }
            int[] index = tensor.ints();
            for (int i = 0; i < index.length; i++) {
                if (index[i] < 0 || index[i] >= groups) {
                    throw new MillraceException(
                            tensor.at() + ": element " + i + " is " + index[i] + ", of " + groups + " groups");
                }
            }
            return index;
        }
        if (actOrder) {
            throw Bad.file(weights.file(), "tensor " + name + " is missing, which desc_act needs");
        }
        int[] index = new int[Math.toIntExact(in)];
        for (int i = 0; i < index.length; i++) {
            index[i] = (int) (i / size);
        }
        return index;
    }

    private static void matrix(Tensor tensor, String type) {
        if (tensor.dims().size() != 2 || tensor.elements() == 0) {
            throw new MillraceException(tensor.at() + ": shape " + tensor.dims() + " is no matrix");
        }
        if (tensor.dims().stream().anyMatch(d -> d > 1 << 28)) {
            throw new MillraceException(tensor.at() + ": shape " + tensor.dims() + " is too large for a layer");
        }
        if (type != null && !tensor.type().equals(type)) {
            throw new MillraceException(tensor.at() + ": type " + tensor.type() + " where " + type + " was expected");
        }
    }

    private void expect(Tensor tensor, long rows, long columns) {
        if (!tensor.dims().equals(List.of(rows, columns))) {
            throw new MillraceException(tensor.at() + ": shape " + tensor.dims() + " where [" + rows + ", " + columns
                    + "] was expected, for " + bits + " bits and group_size " + groupSize);
        }
    }

    private static int integer(JsonNode node, String field, String where) {
        JsonNode value = node.get(field);
        if (value == null || !value.isIntegralNumber() || !value.canConvertToInt()) {
            throw wrong(where, field + (value == null ? " is missing" : " " + value + " is no whole number"));
        }
        return value.intValue();
    }

    private static String text(JsonNode node, String field, String otherwise, String where) {
        JsonNode value = node.get(field);
        if (value != null && !value.isNull() && !value.isString()) {
            throw wrong(where, field + " " + value + " is no string");
        }
        return value == null || value.isNull() ? otherwise : value.stringValue();
    }

    private static boolean flag(JsonNode node, String field, String where) {
        JsonNode value = node.get(field);
        if (value != null && !value.isNull() && !value.isBoolean()) {
            throw wrong(where, field + " " + value + " is neither true nor false");
        }
        return value != null && value.isBoolean() && value.booleanValue();
    }

    private static MillraceException wrong(String where, String what) {
        return new MillraceException(where + ": " + Bad.line(what));
    }
}
