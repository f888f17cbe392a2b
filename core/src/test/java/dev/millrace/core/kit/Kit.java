package dev.millrace.core.kit;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors;
import java.util.ArrayList;
import java.util.List;

/**
 * The conformance kit: what every executor must do right, each case against the reference executor. Runs under JUnit
 * through {@link ExecutorConformance}, or by itself where there is no build tool.
 */
public final class Kit {
    private Kit() {}

    /** Every case, in an order from simple to whole models. */
    public static List<KitCase> cases() {
        List<KitCase> cases = new ArrayList<>();
        cases.addAll(OpCases.all());
        cases.addAll(LinearCases.all());
        cases.addAll(AttentionCases.all());
        cases.addAll(ModelCases.all());
        return cases;
    }

    /**
     * Runs the kit: {@code Kit EXECUTOR [half] [NAME-PART]}. {@code half} allows activations rounded to 16 bits. Prints
     * what failed and, last, the counts; exits with 1 when anything failed.
     */
    public static void main(String[] args) {
        boolean half = args.length > 1 && args[1].equals("half");
        String part = args.length > (half ? 2 : 1) ? args[half ? 2 : 1] : "";
        int passed = 0;
        int failed = 0;
        try (Executor executor = Executors.named(args[0]).provider().open(0, ExecutorOptions.DEFAULT)) {
            for (KitCase c : cases()) {
                if (!c.name().contains(part)) {
                    continue;
                }
                try {
                    c.check().run(executor, half ? Tolerance.HALF_ACTIVATIONS : Tolerance.FLOAT_ACTIVATIONS);
                    passed++;
                } catch (AssertionError | RuntimeException e) {
                    failed++;
                    System.out.println("FAILED " + c.name() + ": " + e);
                }
            }
        }
        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(failed == 0 ? 0 : 1);
    }
}
