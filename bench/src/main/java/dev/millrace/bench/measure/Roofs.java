package dev.millrace.bench.measure;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.executor.RoofProbe.Kind;
import dev.millrace.core.executor.RoofProbe.Sample;
import dev.millrace.core.tensor.WeightFormat;
import java.util.EnumMap;
import java.util.Map;

/**
 * The roofs of one executor, measured in this run. Rates of arithmetic are measured once; the read bandwidth is measured
 * anew each time it is asked for, since shared machines change it within seconds.
 */
public final class Roofs implements AutoCloseable {
    private static final int MILLIS = 300;

    private final RoofProbe probe;
    private final Map<Kind, Double> rates = new EnumMap<>(Kind.class);

    public Roofs(Executor executor) {
        this.probe = executor.roofs();
    }

    /** Whether the executor measures this at all; the reference executor measures nothing. */
    public boolean has(Kind kind) {
        return probe.kinds().contains(kind);
    }

    /**
     * The bandwidth, bytes per second, of reading {@code bytes} again and again: that of memory where they exceed every
     * cache, that of a cache where they do not. NaN where the executor cannot measure it.
     */
    public double read(long bytes) {
        return has(Kind.READ) ? probe.measure(Kind.READ, 0, bytes, MILLIS).max() * 1e9 : Double.NaN;
    }

    /** Operations per second that bound a matrix product with weights of {@code format}; NaN where not measured. */
    public double compute(WeightFormat format) {
        return rate(probe.computeRoof(format)) * 1e9;
    }

    /** Float32 multiply-adds, operations per second; NaN where not measured. */
    public double fma() {
        return rate(Kind.FMA_F32) * 1e9;
    }

    /** Seconds to hand an empty piece of work to the device; 0 where not measured. */
    public double launch() {
        return has(Kind.LAUNCH) ? rate(Kind.LAUNCH) * 1e-6 : 0;
    }

    /** One figure of the device in its kind's unit, measured when first asked for; NaN where not measured. */
    public double rate(Kind kind) {
        return rates.computeIfAbsent(kind, k -> has(k) ? measured(k) : Double.NaN);
    }

    /** Measures the rates again and keeps the larger: a result that passed a roof shows that the roof was measured too low. */
    void raise() {
        rates.replaceAll((kind, rate) -> has(kind) && !time(kind) ? Math.max(rate, measured(kind)) : rate);
    }

    /** The roof of a rate is the most of the samples; a time is no roof and takes its median. */
    private double measured(Kind kind) {
        Sample sample = probe.measure(kind, 0, 0, MILLIS);
        return time(kind) ? sample.median() : sample.max();
    }

    private static boolean time(Kind kind) {
        return kind == Kind.LAUNCH || kind == Kind.PING_PONG;
    }

    @Override
    public void close() {
        probe.close();
    }
}
