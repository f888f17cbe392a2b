package dev.millrace.core.kit;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The conformance kit: what every executor must do right, each case against the reference executor. Runs under JUnit
 * through {@link ExecutorConformance}, or by itself where there is no build tool.
 */
public final class Kit {
    private Kit() {}

    private static List<KitCase> chosen(String part) {
        List<KitCase> all = cases();
        if (!part.matches("[0-9]+/[0-9]+")) {
            return all.stream().filter(c -> c.name().contains(part)).toList();
        }
        int slash = part.indexOf('/');
        int share = Integer.parseInt(part.substring(0, slash));
        int shares = Integer.parseInt(part.substring(slash + 1));
        return IntStream.range(0, all.size()).filter(i -> i % shares == share - 1).mapToObj(all::get).toList();
    }

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
     * Runs the kit: {@code Kit EXECUTOR [half] [NAME-PART]}. {@code half} allows activations rounded to 16 bits; a part
     * such as {@code 3/16} is the third of 16 shares, for tools under which the whole takes long. Prints what failed and,
     * last, the counts; exits with 1 when anything failed.
     */
    public static void main(String[] args) {
        boolean half = args.length > 1 && args[1].equals("half");
        String part = args.length > (half ? 2 : 1) ? args[half ? 2 : 1] : "";
        int passed = 0;
        int failed = 0;
        try (Executor executor = Executors.named(args[0]).provider().open(0, ExecutorOptions.DEFAULT)) {
            for (KitCase c : chosen(part)) {
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
