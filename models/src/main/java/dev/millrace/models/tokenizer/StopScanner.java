package dev.millrace.models.tokenizer;

import dev.millrace.core.MillraceException;
import java.util.List;

/**
 * Finds stop strings in text that arrives in pieces, and holds back text that may be the beginning
 * of one.
 *
 * <p>The texts returned, joined, are the whole text up to the stop string that is complete first
 * (of two that end together, the longer), which is left out: how the text was cut into pieces makes
 * no difference.
 */
public final class StopScanner {
    private final List<String> stops;
    private final StringBuilder held = new StringBuilder();
    private String found;

    /**
     * @param stops strings that end the text; none of them empty
     */
    public StopScanner(List<String> stops) {
        if (stops.contains("")) {
            throw new MillraceException("a stop string is empty; leave it out or give it text");
        }
        this.stops = List.copyOf(stops);
    }

    /** The text that can be shown now that this piece has arrived; empty once stopped. */
    public String push(String piece) {
        if (found != null) {
            return "";
        }
        held.append(piece);
        int start = 0;
        for (String stop : stops) {
            int at = held.indexOf(stop);
            if (at >= 0 && (found == null || earlier(at, stop.length(), start, found.length()))) {
                start = at;
                found = stop;
            }
        }
        return give(found == null ? held.length() - possibleStart() : start);
    }

    /** The stop string that was found, or null. */
    public String found() {
        return found;
    }

    public boolean stopped() {
        return found != null;
    }

    /**
     * What was held back, at the end of the text: no stop string came of it. Empty once stopped.
     */
    public String finish() {
        return found == null ? give(held.length()) : "";
    }

    private static boolean earlier(int at, int length, int otherAt, int otherLength) {
        int end = at + length;
        int otherEnd = otherAt + otherLength;
        return end < otherEnd || end == otherEnd && at < otherAt;
    }

    private String give(int count) {
        String text = held.substring(0, count);
        held.delete(0, count);
        return text;
    }

    /** Length of the longest end of the held text with which a stop string begins. */
    private int possibleStart() {
        int longest = 0;
        for (String stop : stops) {
            for (int n = Math.min(stop.length() - 1, held.length()); n > longest; n--) {
                if (stop.startsWith(held.substring(held.length() - n))) {
                    longest = n;
                }
            }
        }
        return longest;
    }
}
