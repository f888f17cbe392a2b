package dev.millrace.cuda;

import dev.millrace.core.executor.Probe;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;

/** Tests that need a GPU; where there is none they are skipped with the probe's reason. */
@Target({ElementType.TYPE, ElementType.METHOD})
@Retention(RetentionPolicy.RUNTIME)
@ExtendWith(GpuOnly.Condition.class)
public @interface GpuOnly {
    final class Condition implements ExecutionCondition {
        @Override
        public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
            return switch (new CudaProvider().probe()) {
                case Probe.Available a -> ConditionEvaluationResult.enabled(a.devices().getFirst().name());
                case Probe.Unavailable(String reason) -> ConditionEvaluationResult.disabled(reason);
            };
        }
    }
}
