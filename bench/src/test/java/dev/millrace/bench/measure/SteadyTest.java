package dev.millrace.bench.measure;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.function.BooleanSupplier;
import java.util.function.DoubleSupplier;
import java.util.function.IntToDoubleFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SteadyTest {
    private int calls;
    private double clock;

    /** What is measured of timings that take what {@code ofCall} says of the first, the second, ... */
    private double[] seconds(IntToDoubleFunction ofCall, BooleanSupplier stop, BooleanSupplier compiling) {
        DoubleSupplier timing = () -> {
            double seconds = ofCall.applyAsDouble(++calls);
            clock += seconds;
            return seconds;
        };
        return Steady.seconds(5, stop, timing, new Steady.Watch(() -> Math.round(clock * 1e9), compiling));
    }

    @Test
    void timingsThatSettleAreWarmedUpThreeTimesAndThenRepeated() {
        assertThat(seconds(call -> 1, () -> false, () -> false)).hasSize(5).containsOnly(1);
        assertThat(calls).isEqualTo(3 + 5);
    }

    @Test
    void shortTimingsAreRepeatedUntilTheirCodeWouldHaveBeenCompiled() {
        // a 64th of a second each, ten times that before C2 is called, after the 6th
        assertThat(seconds(call -> (call <= 6 ? 10 : 1) / 64.0, () -> false, () -> calls == 6)).hasSize(5).containsOnly(1 / 64.0);
        assertThat(calls).isEqualTo(6 + 64 + 5);
    }

    @Test
    void unevenTimingsAreTakenAfterThirtyWithoutTheCompiler() {
        assertThat(seconds(call -> call % 2 == 0 ? 0.0625 : 0.125, () -> false, () -> calls < 10)).hasSize(5);
        assertThat(calls).isEqualTo(9 + 30 + 5);
    }

    @Test
    void timingsThatNeverSettleAreTakenInTheEnd() {
        assertThat(seconds(call -> call % 2 + 0.25, () -> false, () -> false)).hasSize(5).contains(0.25, 1.25);
        assertThat(calls).as("16 timings are 12 seconds, one more passes").isEqualTo(17 + 5);
    }

    @Test
    void evenTimingsAreNoSteadyStateWhileTheirCodeIsBeingCompiled() {
        // the code of before takes 0.5, evenly; C2 is done after the 20th timing
        assertThat(seconds(call -> call <= 20 ? 0.5 : 0.4, () -> false, () -> calls < 20)).hasSize(5).containsOnly(0.4);
        assertThat(calls).isEqualTo(20 + 3 + 5);
    }

    @Test
    void aTimingLongerThanAnyWarmUpIsTakenAsItIs() {
        assertThat(seconds(call -> 20 + call, () -> false, () -> false)).containsExactly(21, 22, 23, 24, 25);
    }

    @Test
    void aStopEndsTheTimings() {
        assertThat(seconds(call -> 1, () -> calls >= 5, () -> false)).hasSize(2);
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
