package dev.millrace.models.cli;

import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.models.EngineOptions;
import dev.millrace.quant.WeightRequest;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** {@code --executor}, {@code --device}, {@code --threads}, and how it computes. */
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
            description = "Worker threads, of executors that have them (default: the executor's choice).")
    private Integer threads;

    @Mixin
    private ComputeOptions compute;

    /** The executor asked for; null for the best. */
    public String executor() {
        return executor;
    }

    public int device() {
        return device == null ? 0 : device;
    }

    /** How to open the device. */
    public ExecutorOptions executorOptions() {
        return compute.executor(threads == null ? 0 : threads);
    }

    /** How to lay out a model on it. */
    public EngineOptions engineOptions(WeightRequest weights) {
        return compute.engine(weights);
    }

    /** Whole numbers from 0. */
    public static final class Count implements ITypeConverter<Integer> {
        @Override
        public Integer convert(String value) {
            return whole(value, 0, Integer.MAX_VALUE);
        }
    }

    /** Whole numbers from 1. */
    public static final class Positive implements ITypeConverter<Integer> {
        @Override
        public Integer convert(String value) {
            return whole(value, 1, Integer.MAX_VALUE);
        }
    }

    /** A whole number from {@code least} to {@code most}. */
    public static int whole(String value, int least, int most) {
        try {
            int number = Integer.parseInt(value);
            if (number >= least && number <= most) {
                return number;
            }
        } catch (NumberFormatException e) {
            // said below
        }
        throw new TypeConversionException("'" + value + "' is no whole number from " + least + " to " + most);
    }
}
