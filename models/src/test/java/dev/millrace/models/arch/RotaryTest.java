package dev.millrace.models.arch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.millrace.core.MillraceException;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Rotary rules as configurations say them, against the frequencies of transformers. */
class RotaryTest {
    @TestFactory
    Stream<DynamicTest> frequenciesAreThoseOfTransformersInBothKindsOfKeys() {
        JsonNode cases = JsonMapper.shared().readTree(Golden.folder("rope").resolve("cases.json"));
        Map<String, Golden.Values> expected = Golden.expected("rope");
        return cases.properties().stream().map(entry -> DynamicTest.dynamicTest(entry.getKey(), () -> {
            JsonNode said = entry.getValue();
            int positions = said.get("max_position_embeddings").intValue();
            ObjectNode rule = (ObjectNode) said.get("rope_parameters").deepCopy();
            ObjectNode now = JsonMapper.shared().createObjectNode();
            now.set("rope_parameters", rule);
            ObjectNode before = JsonMapper.shared().createObjectNode();
            before.set("rope_theta", rule.get("rope_theta"));
            ObjectNode scaling = rule.deepCopy();
            scaling.remove("rope_theta");
            scaling.set("type", scaling.remove("rope_type"));
            before.set("rope_scaling", scaling);
            for (ObjectNode config : new ObjectNode[] {now, before}) {
                Rotary rotary = Rotary.read(new Settings("config.json", config), said.get("head_dim").intValue(), positions);
                double[] want = expected.get(entry.getKey()).data();
                double[] found = rotary.frequencies().inverse(want.length * 2, said.get("length").longValue());
                assertThat(found).hasSize(want.length);
                for (int i = 0; i < want.length; i++) {
                    assertThat(found[i]).as("frequency %d", i).isCloseTo(want[i], within(2e-6 * want[i]));
                }
                assertThat(rotary.frequencies().magnitude())
                        .isCloseTo((float) said.get("attention_factor").doubleValue(), within(1e-6f));
            }
        }));
    }

    @Test
    void aRuleMakesRoomForAsManyPositionsAsItWasMadeFor() {
        assertThat(positions("{\"rope_type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 32768}"))
                .isEqualTo(131072);
        assertThat(positions("{\"type\": \"dynamic\", \"factor\": 2.0}")).isEqualTo(65536);
        assertThat(positions("{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0,"
                        + " \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192}"))
                .isEqualTo(32768);
    }

    @Test
    void aRuleThatIsNotKnownIsRefusedByName() {
        assertThatThrownBy(() -> positions("{\"rope_type\": \"longrope\", \"factor\": 4.0}"))
                .isInstanceOf(MillraceException.class)
                .hasMessage("config.json: rope_scaling: rope_type is \"longrope\", expected default, linear, dynamic,"
                        + " llama3 or yarn");
        assertThatThrownBy(() -> positions("{\"rope_type\": \"linear\"}"))
                .hasMessage("config.json: rope_scaling: factor is missing");
        assertThatThrownBy(() -> positions("{\"rope_type\": \"linear\", \"factor\": 2, \"mrope_section\": [1]}"))
                .hasMessage("config.json: rope_scaling: mrope_section = [1] is not known to the rope linear reader and may"
                        + " change what the model computes; remove the key if it does not");
    }

    @Test
    void numbersThatGiveNoFrequencyAreRefused() {
        assertThatThrownBy(() -> positions("{\"rope_type\": \"default\", \"rope_theta\": 1.0}"))
                .hasMessage("config.json: rope_scaling: rope_theta is 1.0, expected a number above 1");
        assertThatThrownBy(() -> positions("{\"rope_type\": \"factors\", \"factors\": [1.0, 2.0]}"))
                .hasMessage("config.json: rope_scaling: factors is [1.0,2.0], expected 32 numbers above 0");
        assertThatThrownBy(() -> positions("{\"rope_type\": \"linear\", \"factor\": 0.5}"))
                .hasMessage("config.json: rope_scaling: factor is 0.5, expected a number of at least 1");
    }

    private static int positions(String scaling) {
        ObjectNode config = JsonMapper.shared().createObjectNode();
        config.set("rope_scaling", JsonMapper.shared().readTree(scaling));
        return Rotary.read(new Settings("config.json", config), 64, 32768).positions();
    }
}
