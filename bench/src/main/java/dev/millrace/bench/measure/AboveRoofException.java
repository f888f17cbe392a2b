package dev.millrace.bench.measure;

import dev.millrace.core.MillraceException;

/** A result that the roofs measured round it do not allow, again and again: it is not reported. */
public final class AboveRoofException extends MillraceException {
    private static final long serialVersionUID = 1L;

    AboveRoofException(String test, String executor, double millis, double leastMillis) {
        super("%s on %s took %.3g ms a step, less than the %.3g ms that the roofs measured round it allow; other work must have"
                .formatted(test, executor, millis, leastMillis)
                + " slowed the roof's measurement: quiet the machine and run it again");
    }
}
