package dev.millrace.models.cli;

import dev.millrace.core.MillraceException;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.function.Supplier;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;

/** The command line: {@code millrace COMMAND [options]}. Exit codes: 0 ok, 1 the run failed, 2 the command line is wrong. */
@Command(
        name = "millrace",
        mixinStandardHelpOptions = true,
        versionProvider = Version.class,
        usageHelpAutoWidth = true,
        synopsisSubcommandLabel = "COMMAND",
        description = "Runs transformer models on the devices that the class path offers.",
        footer = {"", "Try: millrace generate \"Once upon a time\"", "Help on a command: millrace COMMAND --help"})
public final class Main implements Runnable {
    private static final String NAME = "millrace";

    /** The commands that bring up an executor for a model at once. */
    private static final Set<String> RUNNING = Set.of("generate", "chat", "logits", "embed", "perplexity");

    @CommandLine.Spec
    private CommandLine.Model.CommandSpec spec;

    private Main() {}

    public static void main(String[] args) {
        Interrupt.install();
        int exit = run(args, writer(FileDescriptor.out), writer(FileDescriptor.err));
        Interrupt.done();
        if (!Interrupt.requested()) {
            System.exit(exit);
        }
    }

    /** Runs a command line and returns its exit code; never exits the JVM. */
    public static int run(String[] args, PrintWriter out, PrintWriter err) {
        String wanted = args.length > 0 && !args[0].startsWith("-") ? args[0] : "";
        if (RUNNING.contains(wanted)) {
            Ahead.start();
        }
        CommandLine line = new CommandLine(new Main());
        Map<String, Supplier<? extends CliCommand>> all = builtIn();
        if (!all.containsKey(wanted)) {
            // only now look into other jars: start-up time is part of every command
            for (CommandProvider provider : ServiceLoader.load(CommandProvider.class)) {
                all.putAll(provider.commands());
            }
        }
        if (all.containsKey(wanted)) {
            line.addSubcommand(wanted, all.get(wanted).get());
        } else {
            all.forEach((name, command) -> line.addSubcommand(name, command.get()));
        }
        line.setOut(out);
        line.setErr(err);
        if (!wanted.isEmpty() && !all.containsKey(wanted)) {
            err.println(NAME + ": no command is named '" + wanted + "'; there are: " + String.join(", ", all.keySet()));
            err.flush();
            return ExitCode.USAGE;
        }
        line.setCaseInsensitiveEnumValuesAllowed(false);
        line.setParameterExceptionHandler(Main::wrongLine);
        line.setExecutionExceptionHandler(Main::failed);
        try {
            return line.execute(args);
        } catch (OutOfMemoryError e) {
            out.flush();
            err.println(NAME + ": not enough memory: " + oneLine(e.getMessage())
                    + "; ask for less, or give Java more (MILLRACE_OPTS=-Xmx4g)");
            return ExitCode.SOFTWARE;
        } finally {
            out.flush();
            err.flush();
        }
    }

    private static Map<String, Supplier<? extends CliCommand>> builtIn() {
        Map<String, Supplier<? extends CliCommand>> commands = new LinkedHashMap<>();
        commands.put("generate", GenerateCommand::new);
        commands.put("chat", ChatCommand::new);
        commands.put("logits", LogitsCommand::new);
        commands.put("embed", EmbedCommand::new);
        commands.put("perplexity", PerplexityCommand::new);
        commands.put("inspect", InspectCommand::new);
        commands.put("quantize", QuantizeCommand::new);
        commands.put("verify", VerifyCommand::new);
        commands.put("devices", DevicesCommand::new);
        commands.put("doctor", DoctorCommand::new);
        return commands;
    }

    /** No command was named. */
    @Override
    public void run() {
        throw new CommandLine.ParameterException(spec.commandLine(), "no command given");
    }

    private static int wrongLine(CommandLine.ParameterException e, String[] args) {
        CommandLine line = e.getCommandLine();
        String full = line.getCommandSpec().qualifiedName();
        line.getErr().println(NAME + ": " + oneLine(e.getMessage()) + "; see: " + full + " --help");
        return ExitCode.USAGE;
    }

    private static int failed(Exception e, CommandLine line, CommandLine.ParseResult parsed) {
        boolean debug = line.getCommand() instanceof CliCommand command && command.debug();
        line.getOut().flush();
        if (e instanceof MillraceException) {
            line.getErr().println(NAME + ": " + oneLine(e.getMessage()));
        } else {
            line.getErr().println(NAME + ": internal error: " + oneLine(e.toString())
                    + (debug ? "" : "; run it again with --debug to see where, and report it"));
        }
        if (debug) {
            e.printStackTrace(line.getErr());
        }
        return e instanceof UsageException ? ExitCode.USAGE : ExitCode.SOFTWARE;
    }

    private static String oneLine(String message) {
        return String.valueOf(message).strip().replaceAll("\\s*\\R\\s*", " ");
    }

    private static PrintWriter writer(FileDescriptor descriptor) {
        OutputStream stream = new FileOutputStream(descriptor);
        return new PrintWriter(new OutputStreamWriter(stream, StandardCharsets.UTF_8));
    }
}
