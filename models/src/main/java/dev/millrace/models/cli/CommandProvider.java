package dev.millrace.models.cli;

import java.util.Map;
import java.util.function.Supplier;

/**
 * Adds commands to the command line from another jar, found by {@link java.util.ServiceLoader}: name the provider in
 * {@code META-INF/services/dev.millrace.models.cli.CommandProvider}. A command is made only when it runs or when help
 * lists it, so making the provider must be cheap.
 */
public interface CommandProvider {
    /** The commands by name, in the order in which help lists them. */
    Map<String, Supplier<? extends CliCommand>> commands();
}
