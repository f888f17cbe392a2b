package dev.millrace.cpu.pool;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(300) // ends a deadlock; under other processes a test has taken 30 s
class WorkerPoolTest {

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5})
    void everyWorkerRunsEveryRegionOnce(int workers) {
        try (WorkerPool pool = new WorkerPool(workers)) {
            AtomicIntegerArray runs = new AtomicIntegerArray(workers);
            for (int i = 0; i < 2000; i++) {
                pool.run((worker, count) -> {
                    assertThat(count).isEqualTo(workers);
                    runs.incrementAndGet(worker);
                });
            }
            for (int w = 0; w < workers; w++) {
                assertThat(runs.get(w)).as("worker %d", w).isEqualTo(2000);
            }
        }
    }

    /** Plain writes of the phase before a barrier must all be seen after it: with a lost barrier, sums go wrong. */
    @ParameterizedTest
    @ValueSource(ints = {2, 3, 4})
    void barriersMakeWritesOfEveryWorkerVisible(int workers) {
        int phases = 5000;
        long[] cells = new long[workers * 16];
        AtomicInteger wrong = new AtomicInteger();
        try (WorkerPool pool = new WorkerPool(workers)) {
            pool.run((worker, count) -> {
                Random random = new Random(worker);
                for (int p = 1; p <= phases; p++) {
                    cells[worker * 16] = p;
                    if (random.nextInt(64) == 0) {
                        Thread.yield();
                    }
                    pool.barrier(worker);
                    for (int w = 0; w < count; w++) {
                        if (cells[w * 16] != p) {
                            wrong.incrementAndGet();
                        }
                    }
                    pool.barrier(worker);
                }
            });
        }
        assertThat(wrong).hasValue(0);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 4})
    void claimsHandOutEveryNumberOnceInEveryPhase(int workers) {
        int phases = 500;
        int chunks = 37;
        AtomicIntegerArray taken = new AtomicIntegerArray(phases * chunks);
        try (WorkerPool pool = new WorkerPool(workers)) {
            pool.run((worker, count) -> {
                for (int p = 0; p < phases; p++) {
                    for (int c = pool.claim(worker, chunks); c >= 0; c = pool.claim(worker, chunks)) {
                        taken.incrementAndGet(p * chunks + c);
                    }
                    pool.barrier(worker);
                }
            });
        }
        for (int i = 0; i < taken.length(); i++) {
            assertThat(taken.get(i)).as("chunk %d of phase %d", i % chunks, i / chunks).isEqualTo(1);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2})
    void anExceptionOfAnyWorkerReachesTheCallerAndFreesThoseAtBarriers(int failing) {
        try (WorkerPool pool = new WorkerPool(3)) {
            for (int i = 0; i < 50; i++) {
                int phase = i % 5;
                assertThatThrownBy(() -> pool.run((worker, workers) -> {
                            for (int p = 0; p < 5; p++) {
                                if (worker == failing && p == phase) {
                                    throw new ArithmeticException("worker " + failing);
                                }
                                pool.barrier(worker);
                            }
                        }))
                        .isInstanceOf(ArithmeticException.class)
                        .hasMessage("worker " + failing);
                AtomicInteger ran = new AtomicInteger();
                pool.run((worker, workers) -> {
                    pool.barrier(worker);
                    ran.incrementAndGet();
                    pool.barrier(worker);
                    assertThat(ran).hasValue(3);
                });
            }
        }
    }

    @Test
    void workersThatWentToSleepWakeUp() throws InterruptedException {
        try (WorkerPool pool = new WorkerPool(3)) {
            for (int i = 0; i < 5; i++) {
                AtomicInteger runs = new AtomicInteger();
                pool.run((worker, workers) -> {
                    if (worker == 1) {
                        sleep(20);
                    }
                    pool.barrier(worker);
                    runs.incrementAndGet();
                });
                assertThat(runs).hasValue(3);
                Thread.sleep(20);
            }
        }
    }

    @Test
    void whileAWorkerStallsBriefRegionsRunWithFewerAndOnceItDoesNotWithAllAgain() {
        try (WorkerPool pool = new WorkerPool(2)) {
            AtomicInteger least = new AtomicInteger(2);
            for (int i = 0; i < 50; i++) {
                pool.runBrief((worker, workers) -> {
                    if (worker == 1) {
                        sleep(5);
                    }
                    pool.barrier(worker);
                    least.accumulateAndGet(workers, Math::min);
                });
            }
            assertThat(least).hasValue(1);
            AtomicInteger most = new AtomicInteger(1);
            for (int i = 0; i < 200; i++) {
                pool.runBrief((worker, workers) -> most.accumulateAndGet(workers, Math::max));
            }
            assertThat(most).hasValue(2);
            pool.run((worker, workers) -> assertThat(workers).isEqualTo(2));
        }
    }

    @Test
    void regionsOfAnyNumberOfWorkersClaimEveryNumberOnceAndMeetAtBarriers() {
        int regions = 2000;
        int chunks = 11;
        AtomicIntegerArray taken = new AtomicIntegerArray(2 * regions * chunks);
        AtomicIntegerArray ran = new AtomicIntegerArray(regions);
        AtomicInteger fewer = new AtomicInteger();
        try (WorkerPool pool = new WorkerPool(4)) {
            for (int i = 0; i < regions; i++) {
                int region = i;
                pool.runBrief((worker, workers) -> {
                    for (int p = 2 * region; p < 2 * region + 2; p++) {
                        for (int c = pool.claim(worker, chunks); c >= 0; c = pool.claim(worker, chunks)) {
                            taken.incrementAndGet(p * chunks + c);
                        }
                        pool.barrier(worker);
                    }
                    if (region % 50 == 0 && worker == workers - 1) {
                        sleep(2);
                    }
                    pool.barrier(worker);
                    ran.incrementAndGet(region);
                    pool.barrier(worker);
                    if (ran.get(region) != workers) {
                        throw new AssertionError(ran.get(region) + " of " + workers + " ran region " + region);
                    }
                    if (workers < 4) {
                        fewer.incrementAndGet();
                    }
                });
            }
        }
        assertThat(fewer.get()).as("regions of fewer workers").isPositive();
        for (int i = 0; i < taken.length(); i++) {
            assertThat(taken.get(i)).as("chunk %d of phase %d", i % chunks, i / chunks).isEqualTo(1);
        }
    }

    @Test
    void threadsTakeTurns() throws InterruptedException {
        try (WorkerPool pool = new WorkerPool(2)) {
            AtomicInteger inside = new AtomicInteger();
            AtomicInteger total = new AtomicInteger();
            Runnable caller = () -> {
                for (int i = 0; i < 500; i++) {
                    pool.run((worker, workers) -> {
                        assertThat(inside.incrementAndGet()).isLessThanOrEqualTo(2);
                        total.incrementAndGet();
                        inside.decrementAndGet();
                    });
                }
            };
            Thread other = new Thread(caller);
            other.start();
            caller.run();
            other.join();
            assertThat(total).hasValue(2000);
        }
    }

    @Test
    void aClosedPoolRefusesRegionsAndItsThreadsHaveEnded() {
        WorkerPool pool = new WorkerPool(3);
        Thread[] threads = new Thread[3];
        pool.run((worker, workers) -> threads[worker] = Thread.currentThread());
        pool.close();
        pool.close();
        assertThat(threads[1].isAlive()).isFalse();
        assertThat(threads[2].isAlive()).isFalse();
        assertThatThrownBy(() -> pool.run((worker, workers) -> {})).isInstanceOf(IllegalStateException.class);
    }

    @Test
    void aRegionCannotStartAnotherOrCloseThePool() {
        try (WorkerPool pool = new WorkerPool(2)) {
            WorkerPool.Region nothing = (worker, workers) -> {};
            assertThatThrownBy(() -> pool.run((worker, workers) -> {
                        if (worker == 0) {
                            pool.run(nothing);
                        }
                    }))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("cannot start another");
            pool.run(nothing);
        }
        assertThatThrownBy(() -> new WorkerPool(0)).isInstanceOf(IllegalArgumentException.class);
    }

    private static void sleep(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
