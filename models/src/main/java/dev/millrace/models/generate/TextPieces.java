package dev.millrace.models.generate;

import dev.millrace.models.tokenizer.StopScanner;
import dev.millrace.models.tokenizer.StreamDecoder;
import dev.millrace.models.tokenizer.Tokenizer;
import java.util.List;

/** The text of tokens that arrive one by one: whole characters only, and nothing of a stop text. */
final class TextPieces {
    private final StreamDecoder decoder;
    private final StopScanner stops;
    private final StringBuilder text = new StringBuilder();

    TextPieces(Tokenizer tokenizer, List<String> stops) {
        this.decoder = tokenizer.stream();
        this.stops = new StopScanner(stops);
    }

    /** What may be shown once this token is known. */
    String push(int token) {
        return keep(stops.push(decoder.push(token)));
    }

    /** What is left to show when no token follows. */
    String finish() {
        String tail = stops.push(decoder.finish());
        return keep(tail + stops.finish());
    }

    boolean stopped() {
        return stops.stopped();
    }

    String text() {
        return text.toString();
    }

    private String keep(String piece) {
        text.append(piece);
        return piece;
    }
}
