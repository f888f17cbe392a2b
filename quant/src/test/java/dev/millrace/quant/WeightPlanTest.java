package dev.millrace.quant;

import static dev.millrace.core.tensor.WeightFormat.BF16;
import static dev.millrace.core.tensor.WeightFormat.F16;
import static dev.millrace.core.tensor.WeightFormat.F32;
import static dev.millrace.core.tensor.WeightFormat.Q4_0;
import static dev.millrace.core.tensor.WeightFormat.Q4_1;
import static dev.millrace.core.tensor.WeightFormat.Q4_K;
import static dev.millrace.core.tensor.WeightFormat.Q5_0;
import static dev.millrace.core.tensor.WeightFormat.Q6_K;
import static dev.millrace.core.tensor.WeightFormat.Q8_0;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.GraphBuilder;
import dev.millrace.core.graph.Op;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class WeightPlanTest {
    private static final Set<WeightFormat> CPU = EnumSet.of(F32, F16, BF16, Q8_0, Q4_0, Q4_1);

    @ParameterizedTest
    @CsvSource({
        "F32, NATIVE, F32", "Q4_0, NATIVE, Q4_0", "Q4_K, NATIVE, Q4_1", "Q5_0, NATIVE, Q8_0", "IQ4_NL, NATIVE, Q8_0",
        "IQ4_XS, NATIVE, Q8_0", "Q6_K, NATIVE, Q8_0", "Q5_K, NATIVE, Q8_0", "Q2_K, NATIVE, Q8_0", "Q3_K, NATIVE, Q8_0",
        "Q5_1, NATIVE, Q8_0", "F16, F32, F32", "Q6_K, F32, F32", "F32, BF16, BF16", "F16, INT8, Q8_0", "F16, INT4, Q4_0",
        "Q8_0, INT4, Q4_0", "Q4_0, INT8, Q8_0", "Q4_K, INT4, Q4_1", "Q4_1, INT4, Q4_1", "Q4_0, INT4, Q4_0"
    })
    void choosesTheFormatThatKeepsMost(WeightFormat stored, WeightRequest request, WeightFormat expected) {
        Weight weight = blank(stored, 512);
        WeightPlan.Choice choice = WeightPlan.choose(weight, request, CPU);
        assertThat(choice.weight().format()).isEqualTo(expected);
        assertThat(choice.weight().shape()).isEqualTo(weight.shape());
        boolean silent = stored == expected && (request != WeightRequest.INT4 || expected == Q4_0)
                || request.format().equals(Optional.of(expected));
        assertThat(choice.reason().isEmpty()).isEqualTo(silent);
    }

    @Test
    void saysWhatHappened() {
        assertThat(WeightPlan.choose(blank(Q4_K, 256), WeightRequest.NATIVE, CPU).reason())
                .contains("is Q4_K, which this executor does not read: the same numbers as Q4_1");
        assertThat(WeightPlan.choose(blank(Q6_K, 256), WeightRequest.NATIVE, CPU).reason())
                .contains("is Q6_K, which this executor does not read: rounded to Q8_0");
        assertThat(WeightPlan.choose(blank(BF16, 256), WeightRequest.NATIVE, EnumSet.of(F32, F16)).reason())
                .contains("is BF16, which this executor does not read: widened to f32");
        assertThat(WeightPlan.choose(blank(Q5_0, 256), WeightRequest.NATIVE, EnumSet.of(F32)).reason())
                .contains("is Q5_0, which this executor does not read: widened to f32");
    }

    @Test
    void columnsThatFillNoBlockStayFloats() {
        WeightPlan.Choice choice = WeightPlan.choose(blank(F32, 33), WeightRequest.INT8, CPU);
        assertThat(choice.weight().format()).isEqualTo(F16);
        assertThat(choice.reason()).contains("has columns that are no multiple of 32 and cannot be int8: f16 instead");
    }

    @Test
    void whatTheExecutorCannotDoIsRefused() {
        assertThatThrownBy(() -> WeightPlan.choose(blank(F32, 32), WeightRequest.INT4, EnumSet.of(F32, F16)))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("int4 (Q4_0) are not read by this executor; it reads f32, f16");
    }

    @Test
    void aTiedTableStaysOneWeightAndVectorsStayAsTheyAre() {
        Weight table = blank(F16, 64);
        Map<String, Weight> named = new LinkedHashMap<>();
        named.put("embed.weight", table);
        named.put("norm.weight", Views.vector("n", new float[64]));
        named.put("lm_head.weight", table);
        named.put("other.weight", blank(F32, 64));
        Weights weights = new Weights(named);
        GraphBuilder builder = new GraphBuilder("g", weights);
        var x = builder.add("embed", new Op.Embed(Op.Index.TOKEN, "embed.weight", 0));
        var n = builder.add("norm", new Op.Norm(Op.NormKind.RMS, "norm.weight", Optional.empty(), 1e-5f), x);
        builder.output(Graph.LOGITS, builder.add("lm_head", new Op.Linear("lm_head.weight", Optional.empty()), n));
        WeightPlan.Plan plan = WeightPlan.plan(builder.build(), weights, WeightRequest.INT8, CPU);
        assertThat(plan.weights().get("lm_head.weight").format()).isEqualTo(Q8_0);
        assertThat(plan.weights().get("embed.weight")).isSameAs(plan.weights().get("lm_head.weight"));
        assertThat(plan.weights().get("norm.weight")).isSameAs(named.get("norm.weight"));
        assertThat(plan.weights().get("other.weight")).isSameAs(named.get("other.weight"));
        assertThat(plan.notes()).isEmpty();
    }

    @Test
    void requestsAreNamedAsOnTheCommandLine() {
        assertThat(WeightRequest.labels()).isEqualTo("native, f32, f16, bf16, int8, int4");
        assertThat(WeightRequest.of("int8")).contains(WeightRequest.INT8);
        assertThat(WeightRequest.of("INT8")).isEmpty();
    }

    private static Weight blank(WeightFormat format, int columns) {
        return Views.of("w", new Shape(3, columns), format,
                MemorySegment.ofArray(new byte[Math.toIntExact(3 * format.rowBytes(columns))]));
    }
}
