package dev.millrace.models.tokenizer;

import dev.millrace.models.tokenizer.Json.BadField;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.util.Base64;

/**
 * Checks SentencePiece's compiled character map, which the native library walks without bounds
 * checks of its own.
 *
 * <p>Layout (SentencePiece's {@code normalizer.cc}): the size in bytes of a double-array trie,
 * little-endian; the trie, 32-bit units; then the replacements, UTF-8, each ended by a zero byte. A
 * unit holds a label (low 8 bits and the top bit), a flag that a value hangs below it (bit 8) and
 * the distance to its children (from bit 10, shifted by 8 where bit 9 is set); a value unit has the
 * top bit set and holds the place of a replacement.
 */
final class CharsMap {
    private CharsMap() {}

    static void check(String base64, String field) {
        byte[] bytes;
        try {
            bytes = Base64.getDecoder().decode(base64);
        } catch (IllegalArgumentException e) {
            throw new BadField(field, "is no base64: " + e.getMessage());
        }
        ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        long trieBytes = bytes.length < 4 ? -1 : Integer.toUnsignedLong(buffer.getInt());
        if (trieBytes < 1024 || trieBytes % 1024 != 0 || trieBytes > bytes.length - 4) {
            throw new BadField(field, "has no whole trie in it");
        }
        IntBuffer trie =
                buffer.slice(4, (int) trieBytes).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer();
        int replacements = 4 + (int) trieBytes;
        for (int i = 0; i < trie.limit(); i++) {
            int unit = trie.get(i);
            if (unit < 0) {
                continue;
            }
            int children = i ^ ((unit >>> 10) << ((unit & 1 << 9) >>> 6));
            if ((children | 0xFF) < 0 || (children | 0xFF) >= trie.limit()) {
                throw new BadField(field, "trie unit " + i + " points outside the trie");
            }
            if ((unit & 1 << 8) != 0) {
                int place = trie.get(children) & 0x7FFFFFFF;
                if (trie.get(children) >= 0
                        || place > bytes.length - replacements
                        || !starts(bytes, replacements + place)) {
                    throw new BadField(
                            field, "trie unit " + children + " points at no replacement");
                }
            }
        }
    }

    /** Whether a character, or the end, is at this place. */
    private static boolean starts(byte[] bytes, int at) {
        return at == bytes.length || (bytes[at] & 0xC0) != 0x80;
    }
}
