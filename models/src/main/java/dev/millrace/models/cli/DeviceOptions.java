package dev.millrace.models.cli;

import dev.millrace.core.executor.KvFormat;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** {@code --executor}, {@code --device}, {@code --threads} and {@code --kv}. */
public final class DeviceOptions {
    @Option(
            names = {"-e", "--executor"},
            paramLabel = "NAME",
            description = "Executor to run on; see: millrace devices (default: the best available).")
    private String executor;

    @Option(
            names = "--device",
            paramLabel = "N",
            converter = Count.class,
            description = "Which of the executor's devices (default: 0).")
    private Integer device;

    @Option(
            names = "--threads",
            paramLabel = "N",
            converter = Positive.class,
            description = "Worker threads (default: the executor's choice).")
    private Integer threads;

    @Option(
            names = "--kv",
            paramLabel = "FORMAT",
            converter = Kv.class,
            completionCandidates = KvNames.class,
            description = "How keys and values are kept: ${COMPLETION-CANDIDATES} (default: f32).")
    private KvFormat kv;

    /** The executor asked for; null for the best. */
    public String executor() {
        return executor;
    }

    public int device() {
        return device == null ? 0 : device;
    }

    /** Worker threads; 0 leaves it to the executor. */
    public int threads() {
        return threads == null ? 0 : threads;
    }

    public KvFormat kv() {
        return kv == null ? KvFormat.F32 : kv;
    }

    /** Whole numbers from 0. */
    public static final class Count implements ITypeConverter<Integer> {
        @Override
        public Integer convert(String value) {
            return whole(value, 0);
        }
    }

    /** Whole numbers from 1. */
    public static final class Positive implements ITypeConverter<Integer> {
        @Override
        public Integer convert(String value) {
            return whole(value, 1);
        }
    }

    private static int whole(String value, int least) {
        try {
            int number = Integer.parseInt(value);
            if (number >= least) {
                return number;
            }
        } catch (NumberFormatException e) {
            // said below
        }
        throw new TypeConversionException("'" + value + "' is no whole number from " + least + " to " + Integer.MAX_VALUE);
    }

    private static final class Kv implements ITypeConverter<KvFormat> {
        @Override
        public KvFormat convert(String value) {
            if (new KvNames().contains(value)) {
                return KvFormat.valueOf(value.toUpperCase(Locale.ROOT));
            }
            throw new TypeConversionException("'" + value + "' is none of " + new KvNames());
        }
    }

    private static final class KvNames extends ArrayList<String> {
        private static final long serialVersionUID = 1L;

        KvNames() {
            super(List.of("f32", "f16"));
        }
    }
}
