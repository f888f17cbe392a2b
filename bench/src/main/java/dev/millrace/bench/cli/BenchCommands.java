package dev.millrace.bench.cli;

import dev.millrace.models.cli.CliCommand;
import dev.millrace.models.cli.CommandProvider;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;

/** The commands that measure. */
public final class BenchCommands implements CommandProvider {
    @Override
    public Map<String, Supplier<? extends CliCommand>> commands() {
        Map<String, Supplier<? extends CliCommand>> commands = new LinkedHashMap<>();
        commands.put("bench", BenchCommand::new);
        commands.put("profile", ProfileCommand::new);
        commands.put("compare", CompareCommand::new);
        return commands;
    }
}
