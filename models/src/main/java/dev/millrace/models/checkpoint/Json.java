package dev.millrace.models.checkpoint;

import dev.millrace.core.MillraceException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.core.json.JsonReadFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * Reads JSON that may be hostile: nesting, token count, string and number lengths are bounded, a key that is there twice
 * is refused. {@code NaN} and {@code Infinity} are read, since Python writes them.
 */
public final class Json {
    private static final int MAX_FILE = 256 << 20;

    private static final JsonFactory FACTORY = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxNestingDepth(100)
                    .maxTokenCount(8_000_000)
                    .maxStringLength(32 << 20)
                    .maxNameLength(64 << 10)
                    .maxNumberLength(1000)
                    .build())
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .build();

    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    /** Made by those that write. Bringing up a mapper takes 60 ms, which reading does without. */
    private static final class Writer {
        static final JsonMapper MAPPER = JsonMapper.builder(FACTORY).build();
    }

    private Json() {}

    /** Loads what reading takes, on the caller's thread: 30 ms of a start, for those who can do it early. */
    public static void prepare() {
        byte[] empty = {'{', '}'};
        parse(empty, 0, empty.length, "an empty object");
    }

    /**
     * Reads a file that holds one JSON object.
     *
     * @throws MillraceException naming the file, and the line where it is wrong
     */
    public static JsonNode read(Path file) {
        byte[] bytes = load(file);
        return parse(bytes, 0, bytes.length, file.toString());
    }

    /** Reads a file that holds one JSON list. */
    public static JsonNode readList(Path file) {
        byte[] bytes = load(file);
        JsonNode node = tree(bytes, 0, bytes.length, file.toString());
        if (!node.isArray()) {
            throw new MillraceException(file + ": a JSON list was expected");
        }
        return node;
    }

    private static byte[] load(Path file) {
        try {
            if (Files.isDirectory(file)) {
                throw new MillraceException(file + " is a directory, not a JSON file");
            }
            long size = Files.size(file);
            if (size > MAX_FILE) {
                throw new MillraceException(file + ": " + size + " bytes of JSON, more than the limit of " + MAX_FILE);
            }
            return Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            throw new MillraceException(file + ": no such file", e);
        } catch (IOException e) {
            throw new MillraceException(file + ": " + e.getMessage(), e);
        }
    }

    /** Reads a JSON object from UTF-8 bytes; {@code what} names them in messages. */
    public static JsonNode parse(byte[] bytes, int offset, int length, String what) {
        JsonNode node = tree(bytes, offset, length, what);
        if (!node.isObject()) {
            throw new MillraceException(what + ": a JSON object was expected");
        }
        return node;
    }

    private static JsonNode tree(byte[] bytes, int offset, int length, String what) {
        try (JsonParser parser = FACTORY.createParser(ObjectReadContext.empty(), bytes, offset, length)) {
            JsonNode node = parser.nextToken() == null ? NODES.missingNode() : node(parser);
            if (parser.nextToken() != null) {
                throw new MillraceException(what + ": not valid JSON: there is more after the end of its value");
            }
            return node;
        } catch (JacksonException e) {
            var at = e.getLocation();
            String where = at == null ? "" : " at line " + at.getLineNr() + " column " + at.getColumnNr();
            throw new MillraceException(what + ": not valid JSON" + where + ": " + Bad.line(firstLine(e.getOriginalMessage())), e);
        }
    }

    /** The value at the parser; the factory's limits bound the depth. */
    private static JsonNode node(JsonParser parser) {
        return switch (parser.currentToken()) {
            case START_OBJECT -> {
                ObjectNode object = NODES.objectNode();
                while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
                    String name = parser.currentName();
                    parser.nextToken();
                    object.set(name, node(parser));
                }
                yield object;
            }
            case START_ARRAY -> {
                ArrayNode array = NODES.arrayNode();
                while (parser.nextToken() != JsonToken.END_ARRAY) {
                    array.add(node(parser));
                }
                yield array;
            }
            case VALUE_STRING -> NODES.stringNode(parser.getString());
            case VALUE_NUMBER_INT -> switch (parser.getNumberType()) {
                case INT -> NODES.numberNode(parser.getIntValue());
                case LONG -> NODES.numberNode(parser.getLongValue());
                default -> NODES.numberNode(parser.getBigIntegerValue());
            };
            case VALUE_NUMBER_FLOAT -> NODES.numberNode(parser.getDoubleValue());
            case VALUE_TRUE -> NODES.booleanNode(true);
            case VALUE_FALSE -> NODES.booleanNode(false);
            case VALUE_NULL -> NODES.nullNode();
            default -> throw new IllegalStateException("no JSON value begins with " + parser.currentToken());
        };
    }

    /**
     * Writes a file that holds the node, indented.
     *
     * @throws IOException when it cannot be written
     */
    public static void write(JsonNode node, Path file) throws IOException {
        Files.write(file, Writer.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsBytes(node));
    }

    /** The node as JSON text in UTF-8, without line breaks. */
    static byte[] bytes(JsonNode node) {
        return Writer.MAPPER.writeValueAsBytes(node);
    }

    private static String firstLine(String message) {
        int end = message.indexOf('\n');
        String line = end < 0 ? message : message.substring(0, end);
        return line.length() > 200 ? line.substring(0, 200) + "..." : line;
    }
}
