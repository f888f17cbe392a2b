package dev.millrace.bench.jmh;

import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** What benchmarks of all devices have in common; {@link Suite} fills in the executors that there are. */
@State(Scope.Benchmark)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(
        value = 1,
        jvmArgsAppend = {
            "--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-Dmillrace.cpu.coldstart=false"
        })
public abstract class DeviceBenchmark {
    @Param("cpu-simd")
    public String executor;
}
