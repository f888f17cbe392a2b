package dev.millrace.models.tokenizer;

import dev.millrace.core.MillraceException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ObjIntConsumer;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;

/**
 * Readers of the vocabulary files that go with a checkpoint: {@code vocab.json}, {@code
 * merges.txt}, {@code vocab.txt}.
 */
final class Vocabularies {
    private Vocabularies() {}

    /** Passes each entry of an object {token: id} on. */
    static void ids(JsonParser p, String field, ObjIntConsumer<String> entry) {
        Json.expect(p, JsonToken.START_OBJECT, field);
        while (p.nextToken() == JsonToken.PROPERTY_NAME) {
            String token = p.currentName();
            p.nextToken();
            String where = field + "[\"" + token + "\"]";
            Json.expect(p, JsonToken.VALUE_NUMBER_INT, where);
            entry.accept(token, TokenizerJson.id(Json.value(p, where), where));
        }
    }

    static Map<String, Integer> vocabJson(Path file) {
        Map<String, Integer> vocabulary = new LinkedHashMap<>();
        Json.read(
                file,
                p -> {
                    ids(p, "(document)", vocabulary::put);
                    return vocabulary;
                });
        return vocabulary;
    }

    /** One merge a line, "left right"; the first line may be a {@code #version} comment. */
    static List<Merge> merges(Path file) {
        List<Merge> merges = new ArrayList<>();
        List<String> lines = lines(file);
        for (int i = 0; i < lines.size(); i++) {
            String line = lines.get(i);
            if (line.isEmpty() || i == 0 && line.startsWith("#version")) {
                continue;
            }
            merges.add(Merge.of(line, file + ": line " + (i + 1)));
        }
        return merges;
    }

    /** One token a line, the line number being its id. */
    static Map<String, Integer> vocabTxt(Path file) {
        Map<String, Integer> vocabulary = new LinkedHashMap<>();
        for (String token : lines(file)) {
            Integer before = vocabulary.putIfAbsent(token, vocabulary.size());
            if (before != null) {
                throw new MillraceException(
                        file
                                + ": line "
                                + (vocabulary.size() + 1)
                                + " repeats the token \""
                                + token
                                + "\" of line "
                                + (before + 1)
                                + "; every token has one line");
            }
        }
        return vocabulary;
    }

    private static List<String> lines(Path file) {
        try {
            CharSequence text =
                    StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(Json.bytes(file)));
            List<String> lines = new ArrayList<>(List.of(text.toString().split("\r?\n", -1)));
            while (!lines.isEmpty() && lines.getLast().isEmpty()) {
                lines.removeLast();
            }
            return lines;
        } catch (CharacterCodingException e) {
            throw new MillraceException(file + ": is no UTF-8 text; download the file again", e);
        }
    }

    /** Two tokens that BPE joins into one. */
    record Merge(String left, String right) {
        static Merge of(String text, String where) {
            int space = text.indexOf(' ', 1);
            if (space < 0 || space == text.length() - 1) {
                throw new MillraceException(
                        where + " should be a merge, \"left right\", found \"" + text + "\"");
            }
            return new Merge(text.substring(0, space), text.substring(space + 1));
        }
    }
}
