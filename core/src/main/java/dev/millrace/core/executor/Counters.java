package dev.millrace.core.executor;

/**
 * What was asked of a device, counted since compile.
 *
 * @param tokens tokens processed
 * @param launches kernel or graph launches; on a CPU, parallel regions handed to the worker pool
 * @param hostToDeviceBytes copied to the device; 0 on a CPU
 * @param deviceToHostBytes copied from the device; 0 on a CPU
 */
public record Counters(long tokens, long launches, long hostToDeviceBytes, long deviceToHostBytes) {
    public Counters minus(Counters earlier) {
        return new Counters(
                tokens - earlier.tokens,
                launches - earlier.launches,
                hostToDeviceBytes - earlier.hostToDeviceBytes,
                deviceToHostBytes - earlier.deviceToHostBytes);
    }
}
