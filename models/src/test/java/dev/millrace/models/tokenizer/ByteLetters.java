package dev.millrace.models.tokenizer;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * GPT-2's spelling of bytes as letters, and its merges out of token ranks; strings hold one byte a
 * char.
 */
final class ByteLetters {
    private ByteLetters() {}

    /**
     * Printable bytes of Latin-1 stand for themselves, the others for U+0100, U+0101, ... in their
     * order.
     */
    static String spell(String bytes) {
        StringBuilder letters = new StringBuilder();
        bytes.chars().forEach(b -> letters.append(letter(b)));
        return letters.toString();
    }

    private static char letter(int b) {
        int others = 0;
        for (int c = 0; c < b; c++) {
            others += plain(c) ? 0 : 1;
        }
        return (char) (plain(b) ? b : 256 + others);
    }

    private static boolean plain(int b) {
        return b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE && b <= 0xFF;
    }

    /**
     * The two parts that are left when a token is built with only the merges that come before its
     * own.
     */
    static String[] lastMerge(String token, Map<String, Integer> ranks, int rank) {
        List<String> parts = new ArrayList<>();
        token.chars().forEach(c -> parts.add(String.valueOf((char) c)));
        while (parts.size() > 2) {
            int best = -1;
            int bestRank = rank;
            for (int i = 0; i + 1 < parts.size(); i++) {
                int r = ranks.getOrDefault(parts.get(i) + parts.get(i + 1), Integer.MAX_VALUE);
                if (r < bestRank) {
                    bestRank = r;
                    best = i;
                }
            }
            parts.set(best, parts.get(best) + parts.remove(best + 1));
        }
        return parts.toArray(String[]::new);
    }
}
