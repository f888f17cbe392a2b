package dev.millrace.bench.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine.TypeConversionException;

class CountsTest {
    private final Counts.Converter converter = new Counts.Converter();

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
        "512; 512", "0; 0", "16,512; 16 512", "1-4; 1 2 3 4", "128-512+128; 128 256 384 512", "16-100*2; 16 32 64",
        "8,1-3,64-64; 8 1 2 3 64"
    })
    void listsAndRangesAreRead(String text, String values) {
        List<Integer> expected = Arrays.stream(values.strip().split(" ")).map(Integer::valueOf).toList();
        assertThat(converter.convert(text).values()).isEqualTo(expected);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "x", "-1", "1,", "5-1", "1-9+0", "1-9*1", "0-9*2", "1-99999", "1-2-3", "2147483648"})
    void anythingElseIsRefused(String text) {
        assertThatThrownBy(() -> converter.convert(text)).isInstanceOf(TypeConversionException.class);
    }

    /** A range to the largest number ends; the step after it would overflow. */
    @ParameterizedTest
    @ValueSource(strings = {"1073741824-2147483647*2", "2147483646-2147483647"})
    void aRangeToTheLargestNumberEnds(String text) {
        assertThat(converter.convert(text).values()).allMatch(n -> n > 0).hasSizeBetween(1, 2);
    }
}
