package dev.millrace.models.tokenizer;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import dev.millrace.core.MillraceException;
import java.util.OptionalInt;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.IntSupplier;

/**
 * The Hugging Face {@code tokenizers} library behind {@link Tokenizer}, called through its JNI
 * class.
 *
 * <p>DJL's own front class brings up its engine framework and Gson: 90-170 ms at process start,
 * against 16 ms for the JNI class alone; it also truncates to 512 tokens unless told otherwise.
 */
final class NativeTokenizer implements Tokenizer {
    private final TokenizersLibrary library;
    private final String source;
    private final IntSupplier vocabularySize;

    /** Read: a native call is running. Write: the handle is being freed. */
    private final ReentrantReadWriteLock life = new ReentrantReadWriteLock();

    private long handle;
    private int size = -1;

    private NativeTokenizer(
            TokenizersLibrary library, long handle, String source, IntSupplier vocabularySize) {
        this.library = library;
        this.handle = handle;
        this.source = source;
        this.vocabularySize = vocabularySize;
    }

    /**
     * Builds a tokenizer from the text of a {@code tokenizer.json} whose components have been
     * checked: the native library aborts the process on some malformed ones.
     *
     * @param source what messages name
     */
    static NativeTokenizer of(String json, String source, IntSupplier vocabularySize) {
        TokenizersLibrary library = NativeLibrary.tokenizers();
        long handle;
        try {
            handle = library.createTokenizerFromString(json);
        } catch (RuntimeException e) {
            throw new MillraceException(
                    source
                            + ": the tokenizer cannot be built: "
                            + oneLine(e)
                            + "; download the checkpoint's tokenizer again",
                    e);
        }
        library.disableTruncation(handle);
        library.disablePadding(handle);
        return new NativeTokenizer(library, handle, source, vocabularySize);
    }

    @Override
    public int[] encode(String text, boolean specialTokens) {
        life.readLock().lock();
        try {
            long encoding = library.encode(open(), wellFormed(text), specialTokens);
            try {
                return toInts(library.getTokenIds(encoding));
            } finally {
                library.deleteEncoding(encoding);
            }
        } catch (IllegalStateException e) {
            throw e;
        } catch (RuntimeException e) {
            throw new MillraceException(
                    source + ": the tokenizer cannot encode this text: " + oneLine(e), e);
        } finally {
            life.readLock().unlock();
        }
    }

    @Override
    public String decode(int[] ids, boolean skipSpecial) {
        return decode(ids, ids.length, skipSpecial);
    }

    String decode(int[] ids, int count, boolean skipSpecial) {
        long[] wide = new long[count];
        for (int i = 0; i < count; i++) {
            if (ids[i] < 0) {
                throw new MillraceException(
                        source + ": " + ids[i] + " is no token id: ids start at 0");
            }
            wide[i] = ids[i];
        }
        life.readLock().lock();
        try {
            return library.decode(open(), wide, skipSpecial);
        } catch (IllegalStateException e) {
            throw e;
        } catch (RuntimeException e) {
            throw new MillraceException(
                    source + ": the tokenizer cannot decode these ids: " + oneLine(e), e);
        } finally {
            life.readLock().unlock();
        }
    }

    @Override
    public int vocabularySize() {
        if (size < 0) {
            size = vocabularySize.getAsInt();
        }
        return size;
    }

    @Override
    public OptionalInt tokenId(String token) {
        int[] ids = encode(token, false);
        return ids.length == 1 && decode(ids, false).equals(token)
                ? OptionalInt.of(ids[0])
                : OptionalInt.empty();
    }

    @Override
    public StreamDecoder stream() {
        return new StreamDecoder(this, anchor());
    }

    /** The id of a token that is plain text by itself, or -1. */
    private int anchor() {
        for (String text : new String[] {"a", "e", "0", "."}) {
            int[] ids = encode(text, false);
            if (ids.length == 1 && decode(ids, true).equals(text)) {
                return ids[0];
            }
        }
        return -1;
    }

    @Override
    public void close() {
        life.writeLock().lock();
        try {
            if (handle != 0) {
                library.deleteTokenizer(handle);
                handle = 0;
            }
        } finally {
            life.writeLock().unlock();
        }
    }

    private long open() {
        if (handle == 0) {
            throw new IllegalStateException("the tokenizer of " + source + " is closed");
        }
        return handle;
    }

    /**
     * Replaces unpaired surrogates: the native side would spoil every supplementary character of
     * the same text.
     */
    private static String wellFormed(String text) {
        StringBuilder repaired = null;
        for (int i = 0; i < text.length(); i++) {
            if (!Character.isSurrogate(text.charAt(i))) {
                continue;
            }
            if (i + 1 < text.length()
                    && Character.isSurrogatePair(text.charAt(i), text.charAt(i + 1))) {
                i++;
                continue;
            }
            if (repaired == null) {
                repaired = new StringBuilder(text);
            }
            repaired.setCharAt(i, '\uFFFD');
        }
        return repaired == null ? text : repaired.toString();
    }

    private static int[] toInts(long[] ids) {
        int[] narrow = new int[ids.length];
        for (int i = 0; i < ids.length; i++) {
            narrow[i] = (int) ids[i];
        }
        return narrow;
    }

    private static String oneLine(RuntimeException e) {
        return String.valueOf(e.getMessage()).lines().findFirst().orElse("no reason given");
    }
}
