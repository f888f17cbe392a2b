package dev.millrace.cpu.pool;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class CrewTest {
    private static final long REGION = 1_000_000;

    @Test
    void briefOrRareWaitsAreNoReasonToRunWithFewer() {
        Crew crew = new Crew(2);
        for (int i = 0; i < 10; i++) {
            crew.ran(REGION, REGION / 3);
            crew.ran(100_000, 99_000);
        }
        for (int i = 0; i < 10; i++) {
            crew.ran(REGION, REGION);
            calm(crew, 10);
        }
        assertThat(crew.active()).isEqualTo(2);
    }

    @Test
    void twoStallsInSixRegionsAreAnAccidentAndThreeAreNot() {
        Crew crew = new Crew(2);
        for (int i = 0; i < 10; i++) {
            crew.ran(REGION, REGION);
            calm(crew, 2);
        }
        assertThat(crew.active()).as("two in each six").isEqualTo(2);
        calm(crew, 6);
        crew.ran(REGION, REGION);
        calm(crew, 2);
        crew.ran(REGION, REGION);
        calm(crew, 1);
        assertThat(crew.active()).as("before the third").isEqualTo(2);
        crew.ran(REGION, REGION);
        assertThat(crew.active()).as("three in six").isEqualTo(1);
    }

    @Test
    void eachTimeStallsAreSoonBackTheWorkerStaysOutTwiceAsLong() {
        Crew crew = new Crew(2);
        List<Integer> pauses = new ArrayList<>();
        for (int i = 0; i < 7; i++) {
            stall(crew);
            pauses.add(alone(crew));
        }
        assertThat(pauses).containsExactly(4, 8, 16, 32, 64, 64, 64);
        calm(crew, 100);
        stall(crew);
        assertThat(alone(crew)).as("after a hundred regions without a stall").isEqualTo(4);
    }

    @Test
    void moreStallsTakeMoreWorkersOutButNeverTheLast() {
        Crew crew = new Crew(3);
        stall(crew);
        assertThat(crew.active()).isEqualTo(2);
        stall(crew);
        assertThat(crew.active()).isEqualTo(1);
        crew.ran(REGION, REGION);
        crew.ran(REGION, REGION);
        assertThat(crew.active()).isEqualTo(1);
    }

    /** Stalls until a worker leaves, which takes a few regions after one's return. */
    private static void stall(Crew crew) {
        int before = crew.active();
        for (int i = 0; i < 5 && crew.active() == before; i++) {
            crew.ran(REGION, REGION);
        }
        assertThat(crew.active()).isEqualTo(before - 1);
    }

    private static void calm(Crew crew, int regions) {
        for (int i = 0; i < regions; i++) {
            crew.ran(REGION, 0);
        }
    }

    /** Regions until all take part again. */
    private static int alone(Crew crew) {
        int regions = 0;
        while (crew.active() < 2) {
            crew.ran(REGION, 0);
            regions++;
        }
        return regions;
    }
}
