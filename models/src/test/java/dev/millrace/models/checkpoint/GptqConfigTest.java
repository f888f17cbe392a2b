package dev.millrace.models.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GptqConfigTest {
    private static final String GOOD =
            "\"bits\": 4, \"group_size\": 32, \"desc_act\": false, \"sym\": true";

    @TempDir Path temp;

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
            "bits": 3, "group_size": 32 | bits 3 is not read
            "bits": 4 | group_size is missing
            "group_size": 32 | bits is missing
            "bits": "4", "group_size": 32 | bits "4" is no whole number
            "bits": 4, "group_size": 0 | group_size 0 is neither -1 nor a multiple of 32
            "bits": 4, "group_size": 48 | group_size 48
            "bits": 4, "group_size": -32 | group_size -32
            "bits": 4, "group_size": 32, "quant_method": "awq" | quant_method awq is not read
            "bits": 4, "group_size": 32, "checkpoint_format": "marlin" | checkpoint_format marlin is not read
            "bits": 4, "group_size": 32, "desc_act": "yes" | desc_act "yes" is neither true nor false
            """)
    void aConfigurationThatIsNotReadIsRefused(String fields, String message) throws IOException {
        Files.writeString(
                temp.resolve("config.json"), "{\"quantization_config\": {" + fields + "}}");
        layer(w -> w);
        assertThatThrownBy(() -> Checkpoint.open(temp).close())
                .isInstanceOf(MillraceException.class)
                .hasMessageContainingAll("config.json", message);
    }

    @Test
    void eitherFileMayHoldIt() throws IOException {
        layer(w -> w);
        Files.writeString(temp.resolve("config.json"), "{}");
        refused("neither quantize_config.json nor config.json");
        Files.writeString(temp.resolve("quantize_config.json"), "{" + GOOD + "}");
        assertThat(open().blocks()).isPresent();
        Files.writeString(
                temp.resolve("config.json"),
                "{\"quantization_config\": {" + GOOD.replace("32", "64") + "}}");
        refused("tensor l.qzeros: shape [2, 1] where [1, 1] was expected, for 4 bits and group_size 64");
    }

    @Test
    void tensorsThatDoNotFitTheConfigurationAreNamed() throws IOException {
        Files.writeString(
                temp.resolve("config.json"), "{\"quantization_config\": {" + GOOD + "}}");
        layer(w -> new SafetensorsWriter().add("l.qweight", new int[64], 8, 8));
        refused("no tensor l.qzeros");
        layer(w -> w.add("l.g_idx", new int[63], 63));
        refused("tensor l.g_idx: 63 elements for 64 inputs");
        int[] index = new int[64];
        index[7] = 2;
        layer(w -> w.add("l.g_idx", index, 64));
        refused("tensor l.g_idx: element 7 is 2, of 2 groups");
        Files.writeString(
                temp.resolve("config.json"),
                "{\"quantization_config\": {" + GOOD.replace("\"desc_act\": false", "\"desc_act\": true") + "}}");
        layer(w -> w);
        refused("tensor l.g_idx is missing, which desc_act needs");
        Files.writeString(
                temp.resolve("config.json"),
                "{\"quantization_config\": {" + GOOD.replace("\"bits\": 4", "\"bits\": 8") + "}}");
        refused("tensor l.qzeros: shape [2, 1] where [1, 2] was expected, for 8 bits and group_size 32");
    }

    private void layer(UnaryOperator<SafetensorsWriter> change) {
        float[] scales = new float[16];
        Arrays.fill(scales, 0.5f);
        int[] zeros = {0x77777777, 0x77777777};
        SafetensorsWriter writer =
                new SafetensorsWriter()
                        .add("l.qweight", new int[64], 8, 8)
                        .add("l.qzeros", zeros, 2, 1)
                        .add("l.scales", scales, 2, 8);
        change.apply(writer).write(temp.resolve("model.safetensors"));
    }

    private dev.millrace.quant.Gptq open() {
        try (HuggingFaceCheckpoint checkpoint = HuggingFaceCheckpoint.open(temp)) {
            return checkpoint.gptq("l").orElseThrow();
        }
    }

    private void refused(String message) {
        assertThatThrownBy(this::open)
                .isInstanceOf(MillraceException.class)
                .hasMessageContainingAll(temp.toString(), message);
    }
}
