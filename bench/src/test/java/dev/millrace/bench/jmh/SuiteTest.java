package dev.millrace.bench.jmh;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class SuiteTest {
    @Test
    void everyAvailableExecutorButTheReferenceTakesPart() {
        String[] words = Suite.onEveryExecutor("-rf", "json", " Linear.*  -p tokens=1 ");
        assertThat(words).startsWith("-rf", "json", "Linear.*", "-p", "tokens=1", "-p").hasSize(7);
        assertThat(words[6]).startsWith("executor=").contains("cpu-simd").doesNotContain("reference");
    }

    @Test
    void executorsThatAreNamedAreKept() {
        assertThat(Suite.onEveryExecutor("-p executor=reference")).containsExactly("-p", "executor=reference");
    }
}
