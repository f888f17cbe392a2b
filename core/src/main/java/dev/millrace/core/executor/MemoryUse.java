package dev.millrace.core.executor;

/**
 * Bytes a program holds.
 *
 * @param weights laid-out weights it owns
 * @param mapped weights it reads in place from the checkpoint
 * @param scratch activations and work space
 * @param sessions caches of its open sessions
 */
public record MemoryUse(long weights, long mapped, long scratch, long sessions) {
    public long total() {
        return weights + mapped + scratch + sessions;
    }
}
