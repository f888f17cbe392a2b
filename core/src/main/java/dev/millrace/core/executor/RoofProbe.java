package dev.millrace.core.executor;

import dev.millrace.core.tensor.WeightFormat;
import java.util.Set;

/** Measures the most a device can do, with kernels of its own: the roofs that every figure stands beside. */
public interface RoofProbe extends AutoCloseable {
    /** What can be measured. Rates count the bytes or operations that the device must really perform. */
    enum Kind {
        /** Reading memory, GB/s (10^9). */
        READ("GB/s"),
        /** Copying memory, bytes read plus bytes written, GB/s. */
        COPY("GB/s"),
        /** Float32 multiply-adds in registers, GFLOP/s (two operations each). */
        FMA_F32("GFLOP/s"),
        /** Matrix products of a format's operands with float32 sums, GFLOP/s. */
        MATRIX_F32("GFLOP/s"),
        MATRIX_TF32("GFLOP/s"),
        MATRIX_F16("GFLOP/s"),
        MATRIX_BF16("GFLOP/s"),
        /** Multiply-adds of 8-bit integers, GOP/s. */
        DOT_INT8("GOP/s"),
        HOST_TO_DEVICE("GB/s"),
        DEVICE_TO_HOST("GB/s"),
        /** Handing an empty kernel, or an empty parallel region, to the device and waiting for it, microseconds. */
        LAUNCH("us"),
        /** A cache line's way there and back between two workers, nanoseconds; tells where the workers sit. */
        PING_PONG("ns");

        private final String unit;

        Kind(String unit) {
            this.unit = unit;
        }

        public String unit() {
            return unit;
        }
    }

    /** A measurement: the median of several, with the least and the most of them, in the kind's unit. */
    record Sample(double median, double min, double max) {}

    /** What this device can measure. */
    Set<Kind> kinds();

    /**
     * Measures for about {@code millis} milliseconds.
     *
     * @param threads workers that take part; 0 for all the executor has. Ignored by devices without worker threads
     * @param bytes working set of READ, COPY and transfers; 0 for one far beyond every cache
     */
    Sample measure(Kind kind, int threads, long bytes, int millis);

    /** The matrix or multiply-add rate that bounds a matrix product with weights of {@code format}. */
    Kind computeRoof(WeightFormat format);

    @Override
    void close();
}
