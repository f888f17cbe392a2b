package dev.millrace.bench.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.models.cli.Main;
import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What {@code bench} and its kin cannot measure they refuse before they measure anything, and say which option asks for it. */
class BenchRefusalTest {
    @ParameterizedTest
    @CsvSource(delimiter = ';', quoteCharacter = '"', value = {
        "2; -n 5000 after --depth 8: millrace-classics-8m has a context of 512 tokens, and that takes 5008; bench -p 8 -n 5000",
        "2; -n 32 after --depth 5000; bench -p 8 -n 16,32 -d 5000",
        "2; -p 513; bench -p 8,513 -n 0",
        "2; --sequence 600; bench -p 0 -n 0 --sequence 600",
        "2; -p 600; profile -p 600 -n 0",
        "2; -n 500 and the steps timed from there on; profile -p 0 -n 500",
        "2; --batch; bench -p 8 -n 0 -B 1000000",
        "2; '4097' is no whole number from 1 to 4096; profile -p 512 -n 0 -B 4097",
        "2; '' is none of; bench --weights int8,",
        "2; '' is none of; compare --weights ,int8",
        "2; no executor is named ; bench -e cpu-simd,",
        "2; names no model; bench -m _",
        "2; names no model; profile -m _"
    })
    void isRefusedInOneLineAndNothingIsMeasured(int exit, String says, String line) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        String[] args = (line + " -r 1").split(" ");
        for (int i = 0; i < args.length; i++) {
            args[i] = args[i].equals("_") ? "" : args[i];
        }

        int code = Main.run(args, new PrintWriter(out), new PrintWriter(err));

        assertThat(err.toString().lines().filter(l -> l.startsWith("millrace: "))).as(err.toString()).singleElement()
                .asString().contains(says);
        assertThat(code).isEqualTo(exit);
        assertThat(out.toString().lines().filter(l -> l.contains("pp") || l.contains("tg"))).isEmpty();
    }
}
