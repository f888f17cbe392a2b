package dev.millrace.models.cli;

import java.io.PrintWriter;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * What every command shares: help, {@code --debug}, and where results and messages go. Results go to {@link #out},
 * everything else to {@link #err}. A command fails by throwing: {@link dev.millrace.core.MillraceException} for exit
 * code 1, {@link UsageException} for 2.
 */
@Command(
        mixinStandardHelpOptions = true,
        sortOptions = false,
        usageHelpAutoWidth = true,
        synopsisHeading = "Usage: ",
        optionListHeading = "%nOptions:%n",
        parameterListHeading = "%nArguments:%n")
public abstract class CliCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Option(names = "--debug", description = "Show stack traces of errors.")
    private boolean debug;

    /** Runs the command and returns its exit code. */
    protected abstract int run() throws Exception;

    @Override
    public final Integer call() throws Exception {
        return run();
    }

    /** Standard output, UTF-8; flush it to stream. */
    protected final PrintWriter out() {
        return spec.commandLine().getOut();
    }

    /** Standard error, UTF-8. */
    protected final PrintWriter err() {
        return spec.commandLine().getErr();
    }

    /** One line on standard error. */
    protected final void say(String line) {
        err().println(line);
        err().flush();
    }

    /** Whether the option was given on the command line (rather than left at its default). */
    protected final boolean given(String option) {
        return spec.commandLine().getParseResult().hasMatchedOption(option);
    }

    /** The words of the command line, the command's name first. */
    protected final List<String> arguments() {
        return spec.root().commandLine().getParseResult().originalArgs();
    }

    final boolean debug() {
        return debug;
    }
}
