package dev.millrace.models.tokenizer;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Text of every kind: words, digits, punctuation, white space, accents, CJK, emoji with joiners,
 * controls.
 */
final class RandomText {
    private static final String[] WORDS = {
        "the",
        " of",
        "Once",
        "didn't",
        "we'LL",
        "naïve",
        "straße",
        "Привет",
        "日本語",
        "的",
        "한국어",
        "العربية",
        "🙂",
        "👩‍👩‍👧",
        "🏳️‍🌈",
        "é",
        "e\u0301",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "...",
        "--",
        "“quoted”",
        "123",
        "4567",
        "3.14",
        "x=1;",
        "\u00a0",
        "\u200b",
        "\u2581",
        "\u0000",
        "\ufffd",
        "\ufeff",
        "<s>",
        "[CLS]",
        "##",
        "😀😀"
    };

    private RandomText() {}

    static List<String> many(long seed, int count) {
        Random random = new Random(seed);
        List<String> texts = new ArrayList<>(List.of("", " ", "a"));
        while (texts.size() < count) {
            StringBuilder text = new StringBuilder();
            for (int n = random.nextInt(30); n > 0; n--) {
                switch (random.nextInt(4)) {
                    case 0 -> text.append(' ').append(WORDS[random.nextInt(WORDS.length)]);
                    case 1 -> text.append(WORDS[random.nextInt(WORDS.length)]);
                    case 2 -> text.append((char) (' ' + random.nextInt(95)));
                    default -> text.appendCodePoint(codePoint(random));
                }
            }
            texts.add(text.toString());
        }
        return texts;
    }

    private static int codePoint(Random random) {
        while (true) {
            int c = random.nextInt(random.nextBoolean() ? 0x3000 : 0x110000);
            if (Character.isDefined(c) && (c < 0xD800 || c > 0xDFFF)) {
                return c;
            }
        }
    }
}
