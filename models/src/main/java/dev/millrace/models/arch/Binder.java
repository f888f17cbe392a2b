package dev.millrace.models.arch;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.Weights;
import dev.millrace.quant.Views;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * Gives a checkpoint's tensors the names of the graph: {@code path.weight}, {@code path.bias}, {@code path.order}.
 * Checks every shape at once, and keeps the list of what is missing so that one message can tell all.
 */
final class Binder {
    private final TensorSource source;
    private final Map<String, Weight> weights = new LinkedHashMap<>();
    private final Map<String, int[]> orders = new LinkedHashMap<>();
    private final List<String> missing = new ArrayList<>();
    private final Set<String> used = new HashSet<>();
    private String prefix = "";

    Binder(TensorSource source) {
        this.source = source;
    }

    /**
     * Tensors may be named with this in front, as in a checkpoint of a model with a head. A tensor of the head itself, whose
     * name never has it, is asked for with a slash in front.
     */
    void prefix(String prefix) {
        if (source.names().stream().anyMatch(name -> name.startsWith(prefix))) {
            this.prefix = prefix;
        }
    }

    /** Whether the checkpoint has the tensor. */
    boolean has(String tensor) {
        return source.has(name(tensor));
    }

    /** Whether the checkpoint has the linear layer, quantized or not. */
    boolean hasLinear(String layer) {
        return has(layer + ".weight") || has(layer + ".qweight");
    }

    /** {@code path.weight}, a table of {@code rows} vectors. */
    void table(String path, String tensor, long rows, long width) {
        put(path + ".weight", tensor(tensor, new Shape(rows, width)));
    }

    /** {@code path.weight} and, where {@code bias}, {@code path.bias}, of a norm over {@code width} elements. */
    void norm(String path, String layer, int width, boolean bias) {
        put(path + ".weight", tensor(older(layer + ".weight", layer + ".gamma"), Shape.vector(width)));
        if (bias) {
            put(path + ".bias", tensor(older(layer + ".bias", layer + ".beta"), Shape.vector(width)));
        }
    }

    /** {@code path.weight} [out, in] and, where {@code bias}, {@code path.bias} [out]. */
    void linear(String path, String layer, int out, int in, boolean bias) {
        bindLinear(List.of(path), new int[] {out}, layer, in, bias, false);
    }

    /** A layer of GPT-2, which always has a bias, and which Hugging Face keeps as [in, out]. */
    void conv1d(String path, String layer, int out, int in) {
        bindLinear(List.of(path), new int[] {out}, layer, in, true, source.conv1d());
    }

    /** A layer of GPT-2 whose outputs are those of several paths side by side. */
    void conv1d(List<String> paths, int[] outs, String layer, int in) {
        bindLinear(paths, outs, layer, in, true, source.conv1d());
    }

    /** Several paths' linear layers in one tensor, their outputs side by side. */
    void linear(List<String> paths, int[] outs, String layer, int in, boolean bias) {
        bindLinear(paths, outs, layer, in, bias, false);
    }

    /** {@code path.weight} is the weight of another path. */
    void share(String path, String other) {
        put(path + ".weight", weights.get(other + ".weight"));
    }

    /** {@code path.weight}, a vector of one value. */
    void constant(String path, int width, float value) {
        float[] values = new float[width];
        Arrays.fill(values, value);
        put(path + ".weight", Views.vector(path + ".weight", values));
    }

    private void bindLinear(List<String> paths, int[] outs, String layer, int in, boolean bias, boolean transposed) {
        int out = IntStream.of(outs).sum();
        Weight whole;
        int[] order = null;
        var quantized = source.quantized(name(layer));
        if (quantized.isPresent()) {
            used.addAll(quantized.get().tensors());
            whole = checked(name(layer) + ".qweight", quantized.get().weight(), new Shape(out, in));
            order = quantized.get().order().orElse(null);
        } else if (transposed) {
            whole = tensor(layer + ".weight", new Shape(in, out));
            whole = whole == null ? null : Views.transposed(whole.name(), whole);
        } else {
            whole = tensor(layer + ".weight", new Shape(out, in));
        }
        Weight biases = bias ? tensor(layer + ".bias", Shape.vector(out)) : null;
        int from = 0;
        for (int i = 0; i < outs.length; i++) {
            String path = paths.get(i);
            boolean all = outs.length == 1;
            put(path + ".weight", all || whole == null ? whole : Views.rows(path + ".weight", whole, from, outs[i]));
            if (bias) {
                put(path + ".bias",
                        all || biases == null ? biases : Views.elements(path + ".bias", biases, from, outs[i]));
            }
            if (order != null) {
                orders.put(path, order);
                put(path + ".order", numbers(path + ".order", order));
            }
            from += outs[i];
        }
    }

    private static Weight numbers(String name, int[] order) {
        float[] numbers = new float[order.length];
        for (int i = 0; i < order.length; i++) {
            numbers[i] = order[i];
        }
        return Views.vector(name, numbers);
    }

    private Weight tensor(String tensor, Shape shape) {
        String name = name(tensor);
        used.add(name);
        if (!source.has(name)) {
            missing.add(source.own(name));
            return null;
        }
        return checked(name, source.get(name, shape), shape);
    }

    private Weight checked(String name, Weight weight, Shape shape) {
        if (!weight.shape().equals(shape)) {
            throw new MillraceException(source.origin() + ": " + source.own(name) + " is " + weight.shape()
                    + ", but the configuration asks for " + shape);
        }
        return weight;
    }

    private void put(String name, Weight weight) {
        if (weight != null) {
            weights.put(name, weight);
        }
    }

    private String older(String tensor, String older) {
        return has(older) && !has(tensor) ? older : tensor;
    }

    private String name(String tensor) {
        if (tensor.startsWith("/")) {
            return tensor.substring(1);
        }
        String prefixed = prefix + tensor;
        boolean bare = !source.has(prefixed) && (source.has(tensor) || source.has(tensor + ".qweight"));
        return bare ? tensor : prefixed;
    }

    /** For each path whose input must be permuted, which input each of its columns belongs to. */
    Map<String, int[]> orders() {
        return orders;
    }

    /**
     * All weights that were named.
     *
     * @throws MillraceException when tensors are missing, naming every one
     */
    Weights weights() {
        if (!missing.isEmpty()) {
            throw new MillraceException(source.origin() + ": " + missing.size()
                    + (missing.size() == 1 ? " tensor is missing: " : " tensors are missing: ")
                    + String.join(", ", missing));
        }
        return new Weights(weights);
    }

    /** Tensors that no path asked for. */
    List<String> unused() {
        return source.names().stream()
                .filter(name -> !used.contains(name))
                .map(source::own)
                .toList();
    }
}
