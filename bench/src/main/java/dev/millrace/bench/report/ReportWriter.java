package dev.millrace.bench.report;

import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/** Writes {@code report.json}, and {@code report.html}: one file with the data, the page and the plotting library in it. */
public final class ReportWriter {
    private static final String D3 = "/META-INF/resources/webjars/d3/7.9.0/dist/d3.min.js";

    private ReportWriter() {}

    /** @throws MillraceException when the directory cannot be made or written */
    public static void write(Report report, Path directory) {
        try {
            Files.createDirectories(directory);
            JsonMapper mapper = JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();
            Files.writeString(directory.resolve("report.json"), mapper.writeValueAsString(report));
            Files.writeString(directory.resolve("report.html"), page(report));
        } catch (IOException e) {
            throw new MillraceException("the report cannot be written to " + directory + ": " + e + "; choose another -o", e);
        }
    }

    private static String page(Report report) throws IOException {
        // "<" is written as an escape, so that no text in the data can end the script element it stands in
        String data = JsonMapper.shared().writeValueAsString(report).replace("<", "\\u003c");
        return resource("report.html")
                .replace("/*STYLE*/", resource("report.css"))
                .replace("/*D3*/", resource(D3))
                .replace("/*CHARTS*/", resource("charts.js"))
                .replace("/*PAGE*/", resource("page.js"))
                .replace("/*DATA*/", data);
    }

    private static String resource(String name) throws IOException {
        try (InputStream in = ReportWriter.class.getResourceAsStream(name)) {
            if (in == null) {
                throw new IOException(name + " is missing from the jar");
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }
}
