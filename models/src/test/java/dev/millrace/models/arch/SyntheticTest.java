package dev.millrace.models.arch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.RopeFrequencies.Llama3;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.Views;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Synthetic models have the real ones' shapes, and numbers worth multiplying. */
class SyntheticTest {
    /** The published parameter counts of the models named. */
    @ParameterizedTest
    @CsvSource({
        "gpt2, 124439808, F32",
        "gpt2-medium, 354823168, F32",
        "gpt2-large, 774030080, F32",
        "gpt2-xl, 1557611200, F32",
        "distilgpt2, 81912576, F32",
        "llama-3.2-1b, 1235814400, BF16",
        "llama-2-7b, 6738415616, BF16",
        "llama-3.1-8b, 8030261248, BF16",
        "bert-base, 109482240, F32"
    })
    void parametersAreAsManyAsTheRealModelHas(String name, long parameters, WeightFormat format) {
        ModelGraph model = Synthetic.build(name);
        Set<Weight> once = Collections.newSetFromMap(new IdentityHashMap<>());
        model.weights().names().forEach(weight -> once.add(model.weights().get(weight)));
        assertThat(once.stream().mapToLong(weight -> weight.shape().elements()).sum()).isEqualTo(parameters);
        assertThat(model.weights().get("embed.tokens.weight").format()).isEqualTo(format);
        assertThat(model.graph().name()).isEqualTo("synthetic:" + name);
    }

    @Test
    void weightsAreRandomAndTheSameEveryTime() {
        Weight first = Synthetic.build("llama-3.2-1b").weights().get("layer.3.mlp.up.weight");
        Weight again = Synthetic.build("synthetic:llama-3.2-1b").weights().get("layer.3.mlp.up.weight");
        Weight other = Synthetic.build("llama-3.2-1b").weights().get("layer.4.mlp.up.weight");
        float[] row = row(first, 17);
        assertThat(row).isEqualTo(row(again, 17)).isNotEqualTo(row(other, 17)).isNotEqualTo(row(first, 18));
        double mean = 0;
        double square = 0;
        for (float x : row) {
            mean += x / row.length;
            square += x * x / row.length;
        }
        assertThat(mean).isCloseTo(0, within(0.002));
        assertThat(Math.sqrt(square)).isCloseTo(0.02, within(0.002));
        float[] gain = Synthetic.build("gpt2").weights().get("final_norm.weight").floats();
        assertThat(gain[0]).isCloseTo(1, within(0.1f)).isNotEqualTo(gain[1]);
    }

    @Test
    void int4IsDrawnAndNotRounded() {
        Weight weight = Synthetic.build("llama-3.2-1b").weights().get("lm_head.weight");
        Weight blocks = Views.converted(weight, WeightFormat.Q4_0);
        assertThat(blocks.format()).isEqualTo(WeightFormat.Q4_0);
        assertThat(row(blocks, 100_000)).isNotEqualTo(row(blocks, 100_001)).doesNotContain(Float.NaN);
    }

    @Test
    void llama32HasItsRotaryRule() {
        ModelGraph model = Synthetic.build("llama-3.2-1b");
        assertThat(model.graph().nodes().stream().filter(node -> node.op() instanceof Op.Rope))
                .hasSize(32)
                .allSatisfy(node -> assertThat(((Op.Rope) node.op()).frequencies().scaling())
                        .isEqualTo(new Llama3(32, 1, 4, 8192)));
    }

    @Test
    void aNameThatIsNotKnownListsThoseThatAre() {
        assertThatThrownBy(() -> Synthetic.build("gpt5"))
                .isInstanceOf(MillraceException.class)
                .hasMessage("synthetic:gpt5 is not known; there are: gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2,"
                        + " llama-3.2-1b, llama-2-7b, llama-3.1-8b, bert-base");
    }

    private static float[] row(Weight weight, long row) {
        float[] values = new float[(int) weight.shape().columns()];
        weight.decodeRows(row, 1, values, 0);
        return values;
    }
}
