package dev.millrace.core.graph;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.kit.KitWeight;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Every wrong shape is refused with the path, what was expected and what was found. */
class GraphBuilderTest {
    private final Map<String, Weight> weights = new LinkedHashMap<>();

    private GraphBuilder builder() {
        weight("table", 10, 8);
        weight("w", 4, 8);
        weight("bias4", 1, 4);
        weight("bias5", 1, 5);
        weight("gain3", 1, 3);
        return new GraphBuilder("tiny", new Weights(weights));
    }

    private void weight(String name, int rows, int columns) {
        weights.put(name, KitWeight.random(name, new Shape(rows, columns), WeightFormat.F32, 1, new Random(1)));
    }

    private static Value embed(GraphBuilder b) {
        return b.add("embed", new Op.Embed(Op.Index.TOKEN, "table", 0));
    }

    @Test
    void aLinearOfTheWrongWidthNamesPathAndWidths() {
        GraphBuilder b = builder();
        Value four = b.add("a", new Op.Linear("w", Optional.of("bias4")), embed(b));
        assertThatThrownBy(() -> b.add("layer.0.attn.q", new Op.Linear("w", Optional.empty()), four))
                .isInstanceOf(MillraceException.class)
                .hasMessage("tiny: layer.0.attn.q: expected w [4, 8] inputs 4, found 8");
    }

    @Test
    void aBiasOfTheWrongLengthIsNamed() {
        GraphBuilder b = builder();
        Value x = embed(b);
        assertThatThrownBy(() -> b.add("q", new Op.Linear("w", Optional.of("bias5")), x))
                .hasMessage("tiny: q: expected bias5 4, found 5");
    }

    @Test
    void aNormThatDoesNotDivideTheRowIsRefused() {
        GraphBuilder b = builder();
        Value x = embed(b);
        assertThatThrownBy(() -> b.add("n", new Op.Norm(Op.NormKind.RMS, "gain3", Optional.empty(), 1e-5f), x))
                .hasMessage("tiny: n: expected gain3 of a length that divides 8, found 3");
    }

    @Test
    void headsThatDoNotShareEvenlyAreRefused() {
        GraphBuilder b = builder();
        Value x = embed(b);
        assertThatThrownBy(() -> b.add("att", new Op.Attention(0, 4, 3, 2, 1, true, 0), x, x, x))
                .hasMessage("tiny: att: expected heads that are a multiple of kvHeads, found 4 heads, 3 kvHeads, headDim 2");
    }

    @Test
    void anOddRotaryDimensionIsRefused() {
        GraphBuilder b = builder();
        Value x = embed(b);
        RopeFrequencies f = new RopeFrequencies(10000, new RopeFrequencies.Plain());
        assertThatThrownBy(() -> b.add("rope", new Op.Rope(4, 3, false, f), x))
                .hasMessage("tiny: rope: expected an even rotary dimension up to 4, found 3");
    }

    @Test
    void twoNodesOfOnePathAreRefused() {
        GraphBuilder b = builder();
        embed(b);
        assertThatThrownBy(() -> embed(b)).hasMessage("tiny: two nodes are named embed");
    }

    @Test
    void aMissingWeightIsNamed() {
        GraphBuilder b = builder();
        Value x = embed(b);
        assertThatThrownBy(() -> b.add("q", new Op.Linear("nope", Optional.empty()), x))
                .hasMessageContaining("no weight named nope");
    }

    @Test
    void activationsForDifferentRowsCannotBeAdded() {
        GraphBuilder b = builder();
        Value x = embed(b);
        Value kept = b.add("select", new Op.Select(), x);
        assertThatThrownBy(() -> b.add("add", new Op.Add(), x, kept))
                .hasMessage("tiny: add: expected inputs with rows for TOKENS, found SELECTED");
    }
}
