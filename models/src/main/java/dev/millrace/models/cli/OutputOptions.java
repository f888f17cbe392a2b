package dev.millrace.models.cli;

import java.io.PrintWriter;
import picocli.CommandLine.Option;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/** {@code --format}: text for people, json for programs. */
public final class OutputOptions {
    /** How results are printed. */
    public enum Format {
        text,
        json
    }

    @Option(
            names = "--format",
            paramLabel = "FORMAT",
            defaultValue = "text",
            description = "How results are printed: ${COMPLETION-CANDIDATES} (default: text).")
    private Format format = Format.text;

    public boolean json() {
        return format == Format.json;
    }

    /** Prints one value (maps, lists, records) as indented JSON and a line end. */
    public static void print(PrintWriter out, Object value) {
        out.println(Json.MAPPER.writeValueAsString(value));
        out.flush();
    }

    private static final class Json {
        static final ObjectMapper MAPPER = JsonMapper.builder()
                .enable(SerializationFeature.INDENT_OUTPUT)
                .build();
    }
}
