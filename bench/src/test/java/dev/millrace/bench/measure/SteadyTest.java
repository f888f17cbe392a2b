package dev.millrace.bench.measure;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SteadyTest {
    private int calls;

    @Test
    void timingsThatSettleAreWarmedUpThreeTimesAndThenRepeated() {
        double[] seconds = Steady.seconds(5, () -> false, () -> ++calls * 0 + 1, () -> false);
        assertThat(seconds).hasSize(5).containsOnly(1);
        assertThat(calls).isEqualTo(8);
    }

    @Test
    void evenTimingsAreNoSteadyStateWhileTheirCodeIsBeingCompiled() {
        // the code of before takes 10, evenly; C2 is done after the 20th timing
        double[] seconds = Steady.seconds(5, () -> false, () -> ++calls <= 20 ? 10 : 1, () -> calls < 20);
        assertThat(seconds).hasSize(5).containsOnly(1);
        assertThat(calls).isEqualTo(20 + 3 + 5);
    }

    @Test
    void aStopEndsTheTimings() {
        assertThat(Steady.seconds(5, () -> calls >= 5, () -> ++calls * 0 + 1, () -> false)).hasSize(2);
    }

    @ParameterizedTest
    @CsvSource({"'',Empty,Empty,false", "C2 CompilerThread0  1804  4  A::b (354 bytes),Empty,Empty,true",
        "C1 CompilerThread0  1804  1  A::b (5 bytes),Empty,Empty,false", "'',1825  3  A::b (6 bytes),Empty,false",
        "'',Empty,1825  4  A::b (6 bytes),true"})
    void theQueuesThatTheJvmPrintsAreRead(String current, String first, String second, boolean busy) {
        String queues = "Current compiles: \n%s\nC1 compile queue:\n%s\n\nC2 compile queue:\n%s\n\n";
        assertThat(Optimizer.busy(queues.formatted(current, first, second))).isEqualTo(busy);
    }

    @Test
    void thisJvmTellsOfItsOptimizingCompiler() throws InterruptedException {
        double sum = 0;
        boolean seen = false;
        for (long end = System.nanoTime() + 20_000_000_000L; !seen && System.nanoTime() < end; ) {
            for (int i = 0; i < 100_000; i++) {
                sum += Math.sin(i) * Math.cos(sum);
            }
            seen = Optimizer.busy();
        }
        assertThat(seen).as("a hot loop was compiled, sum " + sum).isTrue();
        for (int i = 0; i < 1000 && Optimizer.busy(); i++) {
            Thread.sleep(10);
        }
        assertThat(Optimizer.busy()).as("still compiling with nothing to run").isFalse();
    }
}
