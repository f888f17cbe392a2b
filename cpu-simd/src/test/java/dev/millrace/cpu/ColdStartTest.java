package dev.millrace.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class ColdStartTest {
    /** More than the process computes before kernels are warmed up. */
    private static final long MUCH = 1L << 30;

    private static final long SECOND = 1_000_000_000L;

    @Test
    void kernelsTakeOverOnceTheyAreFastThreeTimesInARow() throws InterruptedException {
        AtomicInteger calls = new AtomicInteger();
        ColdStart start = new ColdStart(SECOND, () -> sleep(calls.incrementAndGet() == 3 ? 1200 : 0), true);
        assertThat(start.cold(MUCH)).isTrue();
        awaitOver(start);
        assertThat(calls).hasValue(6);
    }

    @Test
    void kernelsThatFailTakeOverAndOthersAreWarmedUpAfterThem() throws InterruptedException {
        ColdStart bad = new ColdStart(SECOND, () -> {
            throw new IllegalStateException("kernel");
        }, true);
        AtomicInteger calls = new AtomicInteger();
        ColdStart good = new ColdStart(SECOND, calls::incrementAndGet, true);
        assertThat(bad.cold(MUCH)).isTrue();
        assertThat(good.cold(MUCH)).isTrue();
        awaitOver(bad);
        awaitOver(good);
        assertThat(calls).hasValue(3);
    }

    @Test
    void whereItIsLeftOutKernelsAreUsedFromTheFirstCallOn() {
        ColdStart start = new ColdStart(SECOND, () -> {
            throw new AssertionError("not to be warmed up");
        }, false);
        assertThat(start.cold(MUCH)).isFalse();
    }

    private static void awaitOver(ColdStart start) throws InterruptedException {
        for (int i = 0; i < 3000 && start.cold(0); i++) {
            Thread.sleep(10);
        }
        assertThat(start.cold(0)).as("still cold after 30 s").isFalse();
    }

    private static void sleep(int millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
