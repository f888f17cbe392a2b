package dev.millrace.core.executor;

/** How keys and values are kept. */
public enum KvFormat {
    F32(4),
    F16(2);

    private final int bytes;

    KvFormat(int bytes) {
        this.bytes = bytes;
    }

    /** Bytes of one element. */
    public int bytes() {
        return bytes;
    }
}
