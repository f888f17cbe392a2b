package dev.millrace.models.tokenizer;

import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;

/**
 * Streaming reads of JSON files that nobody has checked yet: bounded in size, depth and string
 * length.
 */
final class Json {
    /** The largest published tokenizer files are about 35 MB. */
    static final long MAX_FILE_BYTES = 256L << 20;

    static final JsonFactory FACTORY =
            JsonFactory.builder()
                    .streamReadConstraints(
                            StreamReadConstraints.builder()
                                    .maxNestingDepth(64)
                                    .maxStringLength(4 << 20)
                                    .build())
                    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    .build();

    private Json() {}

    /** Reads a file; every failure becomes one line that names it. */
    static <T> T read(Path file, Function<JsonParser, T> reader) {
        return read(file.toString(), bytes(file), reader);
    }

    static <T> T read(String source, byte[] bytes, Function<JsonParser, T> reader) {
        try (JsonParser parser = FACTORY.createParser(ObjectReadContext.empty(), bytes)) {
            parser.nextToken();
            return reader.apply(parser);
        } catch (BadField e) {
            throw new MillraceException(source + ": " + e.getMessage(), e);
        } catch (JacksonException e) {
            String where =
                    e.getLocation() == null
                            ? ""
                            : " (line "
                                    + e.getLocation().getLineNr()
                                    + ", column "
                                    + e.getLocation().getColumnNr()
                                    + ")";
            String what = e.getOriginalMessage().lines().findFirst().orElse("");
            throw new MillraceException(
                    source
                            + ": not readable as JSON: "
                            + what
                            + where
                            + "; download the file again",
                    e);
        }
    }

    static byte[] bytes(Path file) {
        try {
            long size = Files.size(file);
            if (size > MAX_FILE_BYTES) {
                throw new MillraceException(
                        file
                                + ": "
                                + size
                                + " bytes is too large for a tokenizer file (at most "
                                + MAX_FILE_BYTES
                                + ")");
            }
            try (InputStream in = Files.newInputStream(file)) {
                return in.readNBytes((int) MAX_FILE_BYTES);
            }
        } catch (NoSuchFileException e) {
            throw new MillraceException(file + ": no such file", e);
        } catch (IOException e) {
            throw new MillraceException(file + ": cannot be read: " + e.getMessage(), e);
        }
    }

    /** What is wrong with a field; {@link #read} puts the file's name before it. */
    static final class BadField extends RuntimeException {
        private static final long serialVersionUID = 1L;

        BadField(String field, String problem) {
            super("field " + field + ": " + problem);
        }
    }

    /**
     * The value at the parser as Map, List, String, Long, Double, Boolean or null; for small parts
     * only.
     */
    static Object value(JsonParser p, String field) {
        return switch (p.currentToken()) {
            case START_OBJECT -> {
                Map<String, Object> map = new LinkedHashMap<>();
                while (p.nextToken() == JsonToken.PROPERTY_NAME) {
                    String name = p.currentName();
                    p.nextToken();
                    map.put(name, value(p, field + "." + name));
                }
                yield map;
            }
            case START_ARRAY -> {
                List<Object> list = new ArrayList<>();
                while (p.nextToken() != JsonToken.END_ARRAY) {
                    list.add(value(p, field + "[" + list.size() + "]"));
                }
                yield list;
            }
            case VALUE_STRING -> p.getString();
            case VALUE_NUMBER_INT -> {
                if (!p.isExpectedNumberIntToken()
                        || p.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
                    throw new BadField(field, p.getString() + " is too large a number");
                }
                yield p.getLongValue();
            }
            case VALUE_NUMBER_FLOAT -> p.getDoubleValue();
            case VALUE_TRUE -> true;
            case VALUE_FALSE -> false;
            case VALUE_NULL -> null;
            case null, default -> throw new BadField(field, "a value is missing");
        };
    }

    static void expect(JsonParser p, JsonToken token, String field) {
        if (p.currentToken() != token) {
            throw new BadField(
                    field, "should be " + name(token) + ", found " + name(p.currentToken()));
        }
    }

    static String name(JsonToken token) {
        return switch (token) {
            case START_OBJECT, END_OBJECT -> "an object";
            case START_ARRAY, END_ARRAY -> "a list";
            case VALUE_STRING -> "a string";
            case VALUE_NUMBER_INT -> "a whole number";
            case VALUE_NUMBER_FLOAT -> "a fraction";
            case VALUE_TRUE, VALUE_FALSE -> "true or false";
            case VALUE_NULL -> "null";
            case null, default -> "nothing";
        };
    }
}
