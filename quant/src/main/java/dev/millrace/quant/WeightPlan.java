package dev.millrace.quant;

import static dev.millrace.core.tensor.WeightFormat.BF16;
import static dev.millrace.core.tensor.WeightFormat.F16;
import static dev.millrace.core.tensor.WeightFormat.F32;
import static dev.millrace.core.tensor.WeightFormat.IQ4_NL;
import static dev.millrace.core.tensor.WeightFormat.IQ4_XS;
import static dev.millrace.core.tensor.WeightFormat.Q4_0;
import static dev.millrace.core.tensor.WeightFormat.Q4_1;
import static dev.millrace.core.tensor.WeightFormat.Q4_K;
import static dev.millrace.core.tensor.WeightFormat.Q5_1;
import static dev.millrace.core.tensor.WeightFormat.Q8_0;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Decides in which format an executor gets the weights of linear layers: as stored where it reads that, converted on
 * read where it does not or where the user asks for it. Norms, biases and tables that only look up keep theirs.
 */
public final class WeightPlan {
    private static final Set<WeightFormat> FOUR_BITS = Set.of(Q4_0, Q4_1, Q4_K, IQ4_NL, IQ4_XS);

    /**
     * One weight's fate.
     *
     * @param weight the view to use
     * @param reason why it is not as stored or not as asked for; empty where there is nothing to say
     */
    public record Choice(Weight weight, Optional<String> reason) {}

    /**
     * All weights with their views.
     *
     * @param notes each different reason once, with how many weights it holds for
     */
    public record Plan(Weights weights, List<String> notes) {}

    private WeightPlan() {}

    /**
     * The view of one linear weight.
     *
     * @param readable the formats the executor reads
     * @throws MillraceException when the executor does not read the format that is asked for, or none that would do
     */
    public static Choice choose(Weight weight, WeightRequest request, Set<WeightFormat> readable) {
        if (request == WeightRequest.NATIVE) {
            return asStored(weight, readable);
        }
        WeightFormat asked = request.format().orElseThrow();
        if (!readable.contains(asked)) {
            throw new MillraceException("weights as " + request + " (" + asked + ") are not read by this executor; it reads "
                    + names(readable));
        }
        WeightFormat stored = weight.format();
        if (stored == asked) {
            return new Choice(weight, Optional.empty());
        }
        if (asked == Q4_0 && FOUR_BITS.contains(stored)) {
            Choice kept = asStored(weight, readable);
            if (FOUR_BITS.contains(kept.weight().format())) {
                return new Choice(kept.weight(), Optional.of("has 4 bits as " + stored + " already, kept as "
                        + kept.weight().format()));
            }
        }
        if (!asked.fits(weight.shape().columns())) {
            WeightFormat instead = first(readable, F16, F32)
                    .orElseThrow(() -> new MillraceException(weight.name() + " " + weight.shape() + " cannot be " + asked
                            + ", and the executor reads neither f16 nor f32"));
            return new Choice(Views.converted(weight, instead), Optional.of("has columns that are no multiple of "
                    + asked.blockElements() + " and cannot be " + request + ": " + instead.label() + " instead"));
        }
        return new Choice(Views.converted(weight, asked), Optional.empty());
    }

    private static Choice asStored(Weight weight, Set<WeightFormat> readable) {
        WeightFormat stored = weight.format();
        if (readable.contains(stored)) {
            return new Choice(weight, Optional.empty());
        }
        for (WeightFormat same : List.of(Q4_1, Q5_1, Q8_0)) {
            if (readable.contains(same) && Transcoded.possible(stored, same)) {
                return new Choice(Views.converted(weight, same), Optional.of(
                        "is " + stored + ", which this executor does not read: the same numbers as " + same));
            }
        }
        Optional<WeightFormat> wide = stored == F16 || stored == BF16 ? first(readable, F32) : first(readable, F16, BF16);
        if (!stored.quantized() && wide.isPresent()) {
            return converted(weight, wide.get(), wide.get() == F32 ? "widened to f32" : "rounded to " + wide.get().label());
        }
        if (stored.quantized() && readable.contains(Q8_0) && Q8_0.fits(weight.shape().columns())) {
            return converted(weight, Q8_0, "rounded to Q8_0");
        }
        WeightFormat last = first(readable, F16, F32, BF16)
                .orElseThrow(() -> new MillraceException(weight.name() + " is " + stored
                        + ", which this executor does not read; it reads " + names(readable)));
        return converted(weight, last, (last == F32 ? "widened to " : "rounded to ") + last.label());
    }

    private static Choice converted(Weight weight, WeightFormat format, String how) {
        return new Choice(Views.converted(weight, format), Optional.of(
                "is " + weight.format() + ", which this executor does not read: " + how));
    }

    private static Optional<WeightFormat> first(Set<WeightFormat> readable, WeightFormat... formats) {
        for (WeightFormat format : formats) {
            if (readable.contains(format)) {
                return Optional.of(format);
            }
        }
        return Optional.empty();
    }

    private static String names(Set<WeightFormat> formats) {
        return String.join(", ", formats.stream().sorted().map(WeightFormat::label).toList());
    }

    /**
     * Plans every weight of a graph. A table that is also a linear weight (tied embeddings) stays one weight.
     *
     * @throws MillraceException as {@link #choose}
     */
    public static Plan plan(Graph graph, Weights weights, WeightRequest request, Set<WeightFormat> readable) {
        Map<Weight, Weight> chosen = new IdentityHashMap<>();
        Map<String, List<String>> reasons = new LinkedHashMap<>();
        for (String name : linear(graph)) {
            Weight weight = weights.get(name);
            if (!chosen.containsKey(weight)) {
                Choice choice = choose(weight, request, readable);
                chosen.put(weight, choice.weight());
                choice.reason().ifPresent(r -> reasons.computeIfAbsent(r, x -> new ArrayList<>()).add(name));
            }
        }
        List<String> notes = new ArrayList<>();
        reasons.forEach((reason, names) -> notes.add(
                names.getFirst() + (names.size() > 1 ? " and " + (names.size() - 1) + " others: " : ": ") + reason));
        return new Plan(weights.map((name, weight) -> chosen.getOrDefault(weight, weight)), List.copyOf(notes));
    }

    private static List<String> linear(Graph graph) {
        List<String> names = new ArrayList<>();
        for (Node node : graph.nodes()) {
            switch (node.op()) {
                case Op.Linear l -> names.add(l.weight());
                case Op.FusedLinear f -> f.parts().forEach(l -> names.add(l.weight()));
                default -> {}
            }
        }
        return names;
    }
}
