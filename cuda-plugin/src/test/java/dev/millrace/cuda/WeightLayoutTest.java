package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.kit.KitWeight;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class WeightLayoutTest {
    private static Weight weight(String name, int rows, int columns, WeightFormat format) {
        return KitWeight.random(name, new Shape(rows, columns), format, 1, new Random(1));
    }

    @Test
    void aSharedWeightIsKeptOnce() {
        WeightLayout layout = new WeightLayout();
        Weight table = weight("table", 53, 96, WeightFormat.BF16);
        Matrix first = layout.matrix(table);
        long bytes = layout.bytes();
        assertThat(layout.matrix(table)).isEqualTo(first);
        assertThat(layout.bytes()).isEqualTo(bytes);
        assertThat(layout.copies()).hasSize(1);
    }

    @Test
    void partsFollowEachOtherAndGatesAlternate() {
        WeightLayout layout = new WeightLayout();
        Weight q = weight("q", 48, 64, WeightFormat.F16);
        Weight k = weight("k", 17, 64, WeightFormat.F16);
        Matrix stacked = layout.matrix(List.of(q, k), false);
        assertThat(stacked.rows()).isEqualTo(65);
        assertThat(layout.copies()).extracting(WeightLayout.Copy::rowOffset).containsExactly(0, 48);
        assertThat(layout.copies()).extracting(WeightLayout.Copy::rowStep).containsOnly(1);

        Weight gate = weight("gate", 33, 64, WeightFormat.F16);
        Weight up = weight("up", 33, 64, WeightFormat.F16);
        layout.matrix(List.of(gate, up), true);
        assertThat(layout.copies().subList(2, 4)).extracting(WeightLayout.Copy::rowOffset).containsExactly(0, 1);
        assertThat(layout.copies().subList(2, 4)).extracting(WeightLayout.Copy::rowStep).containsOnly(2);
    }

    @Test
    void nothingOverlapsAndEverythingIsAligned() {
        WeightLayout layout = new WeightLayout();
        long end = 0;
        for (WeightFormat format : Format.supported()) {
            Matrix m = layout.matrix(weight("w" + format, 33, 96, format));
            assertThat(m.data()).isGreaterThanOrEqualTo(end);
            assertThat(m.data() % 256).isZero();
            end = m.data() + m.format().dataBytes(m.rows(), m.columns());
            if (m.format().quantized()) {
                assertThat(m.scales()).isGreaterThanOrEqualTo(end);
                end = m.scales() + m.format().scaleBytes(m.rows(), m.columns());
            }
        }
        long vector = layout.floats(new float[] {1, 2, 3});
        assertThat(vector).isGreaterThanOrEqualTo(end);
        assertThat(layout.bytes()).isGreaterThanOrEqualTo(vector + 12);
    }

    @Test
    void anOrderThatPointsOutsideIsRefusedWithItsPlace() {
        WeightLayout layout = new WeightLayout();
        Weight order = KitWeight.of("order", Shape.vector(3), 0, 7, 1);
        assertThatThrownBy(() -> layout.indices(order, 3))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("order[1] = 7.0")
                .hasMessageContaining("0 to 2");
    }
}
