package dev.millrace.models.verify;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.models.Engine;
import dev.millrace.models.EngineOptions;
import dev.millrace.models.Model;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class VerifyTest {
    private static final int[] TOKENS = {3, 14, 15, 92, 65, 35, 89};

    private static List<OpCheck> verify(String model, Executor tested) {
        List<OpCheck> checks = new ArrayList<>();
        try (Model opened = Model.load(Path.of(VerifyTest.class.getResource("/goldens/" + model).toURI()));
                Executor reference = Executors.named("reference").open();
                Engine engine = Engine.open(opened, tested, EngineOptions.DEFAULT)) {
            boolean passed = new Verifier(tested, reference, KvFormat.F32)
                    .run(engine.program().graph(), engine.weights(), TOKENS, checks::add);
            assertThat(passed).isEqualTo(checks.stream().allMatch(OpCheck::passed));
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
        return checks;
    }

    @ParameterizedTest
    @ValueSource(strings = {"gpt2-tiny", "llama-tiny", "bert-tiny"})
    void theCpuExecutorPassesEveryOp(String model) {
        try (Executor cpu = Executors.named("cpu-simd").open()) {
            List<OpCheck> checks = verify(model, cpu);

            assertThat(checks).allSatisfy(check -> assertThat(check.passed()).as("%s", check).isTrue());
            assertThat(checks).extracting(OpCheck::path).contains("(whole model) last_hidden_state");
        }
    }

    @Test
    void oneWrongKernelIsFoundAtItsPathAndNowhereElse() {
        try (Executor reference = Executors.named("reference").open();
                Executor wrong = new WrongExecutor(reference, "layer.1.mlp.up", 1.02f)) {
            List<OpCheck> failed = verify("gpt2-tiny", wrong).stream().filter(check -> !check.passed()).toList();

            assertThat(failed).extracting(OpCheck::path).containsOnly("layer.1.mlp.up");
        }
    }

    @Test
    void aResultThatIsNotANumberFails() {
        try (Executor reference = Executors.named("reference").open();
                Executor wrong = new WrongExecutor(reference, "layer.0.attn.o", Float.NaN)) {
            assertThat(verify("gpt2-tiny", wrong).stream().filter(check -> !check.passed()).map(OpCheck::path))
                    .contains("layer.0.attn.o");
        }
    }

    @Test
    void errorsAreThoseOfTheirDefinition() {
        OpCheck.Errors errors = OpCheck.Errors.of(new float[] {1, 2, 2}, new float[] {1, 2, 4});

        assertThat(Map.of("max", errors.max(), "rms", errors.rms(), "relative", errors.relative()))
                .isEqualTo(Map.of("max", 2.0, "rms", Math.sqrt(4 / 3.0), "relative", Math.sqrt(4 / 21.0)));
    }
}
