package dev.millrace.models.cli;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.InputLimits;
import dev.millrace.models.Model;
import dev.millrace.models.verify.OpCheck;
import dev.millrace.models.verify.Verifier;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** {@code verify}: every op of the model, executor against reference. */
@Command(
        name = "verify",
        description = "Runs every op of the model on the executor and on the reference and compares the results."
                + " Exit code 1 when one is past its tolerance.")
final class VerifyCommand extends CliCommand {
    private static final int TOKENS = 17;
    private static final long SEED = 20260101;

    @Mixin
    private ModelOptions modelOptions;

    @Mixin
    private DeviceOptions deviceOptions;

    @Mixin
    private OutputOptions output;

    @Mixin
    private TextInput input;

    @Override
    protected int run() {
        input.atMostOne();
        List<OpCheck> checks = new ArrayList<>();
        try (Run run = Run.open(modelOptions, deviceOptions, this::say, model -> {});
                Executor reference = Executors.named("reference").open(0, ExecutorOptions.DEFAULT);
                Progress progress = Progress.of("verify", run.engine().program().graph().nodes().size())) {
            int[] tokens = input.given() ? input.ids(run.model(), true) : randomTokens(run.model());
            if (!output.json()) {
                out().printf("%-30s %-14s %11s %11s %11s %11s%n", "path", "op", "max", "rms", "rms/ref", "tolerance");
            }
            new Verifier(run.executor(), reference, run.engine().options().kv())
                    .run(run.engine().program().graph(), run.engine().weights(), tokens, check -> {
                        checks.add(check);
                        Interrupt.check();
                        if (!output.json()) {
                            progress.aside(() -> {
                                out().println(row(check));
                                out().flush();
                            });
                        }
                        progress.step();
                    });
            if (output.json()) {
                OutputOptions.print(out(), json(run, tokens.length, checks));
            }
        }
        List<String> failed = checks.stream().filter(check -> !check.passed()).map(OpCheck::path).toList();
        if (!failed.isEmpty()) {
            say("millrace: " + failed.size() + " of " + checks.size() + " checks are past their tolerance: "
                    + String.join(", ", failed.subList(0, Math.min(5, failed.size()))) + (failed.size() > 5 ? ", ..." : ""));
        }
        return failed.isEmpty() ? 0 : 1;
    }

    private static int[] randomTokens(Model model) {
        int vocabulary = InputLimits.of(model.graph(), model.weights()).tokens();
        return new Random(SEED).ints(Math.min(TOKENS, model.contextLength()), 0, vocabulary).toArray();
    }

    private static String row(OpCheck check) {
        double max = check.decode() == null ? check.prefill().max() : Math.max(check.prefill().max(), check.decode().max());
        double rms = check.decode() == null ? check.prefill().rms() : Math.max(check.prefill().rms(), check.decode().rms());
        return String.format(
                Locale.ROOT,
                "%-30s %-14s %11.3g %11.3g %11.3g %11.3g%s",
                check.path(),
                check.op(),
                max,
                rms,
                check.relative(),
                check.tolerance(),
                check.passed() ? "" : "  WRONG");
    }

    private static Map<String, Object> json(Run run, int tokens, List<OpCheck> checks) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("model", run.model().name());
        json.put("executor", run.executor().name());
        json.put("tokens", tokens);
        json.put("passed", checks.stream().allMatch(OpCheck::passed));
        json.put("ops", checks.stream().map(VerifyCommand::json).toList());
        return json;
    }

    private static Map<String, Object> json(OpCheck check) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("path", check.path());
        json.put("op", check.op());
        json.put("prefill", check.prefill());
        json.put("decode", check.decode());
        json.put("relative", check.relative());
        json.put("tolerance", check.tolerance());
        json.put("passed", check.passed());
        return json;
    }
}
