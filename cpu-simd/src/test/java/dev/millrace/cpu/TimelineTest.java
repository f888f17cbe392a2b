package dev.millrace.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.millrace.core.graph.Node;
import dev.millrace.core.profile.OpObserver;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class TimelineTest {
    @Test
    void aRegionShowsTheWorkersThatRanItAndNoOthers() {
        Timeline timeline = new Timeline(2);
        timeline.begin(1, 0);
        region(timeline, 2, "a", "b");
        region(timeline, 1, "c");
        region(timeline, 2, "d");

        List<String> shown = new ArrayList<>();
        timeline.report(new OpObserver() {
            private long last;

            @Override
            public void begin(int tokens, int context) {}

            @Override
            public void op(Node node, long startNanos, long endNanos) {
                assertThat(startNanos).isGreaterThanOrEqualTo(last);
                assertThat(endNanos).isGreaterThan(startNanos);
                last = endNanos;
                shown.add(node.path());
            }

            @Override
            public void span(String lane, String name, long startNanos, long endNanos) {
                assertThat(endNanos).as(lane + " " + name).isGreaterThan(startNanos).isLessThan(last);
                shown.add(lane + " " + name);
            }

            @Override
            public void end(long startNanos, long endNanos) {
                assertThat(endNanos).isGreaterThan(last);
            }
        });
        assertThat(shown)
                .containsExactly(
                        "a", "worker 0 a", "worker 1 a", "b", "worker 0 b", "worker 1 b", "c", "worker 0 c", "d", "worker 0 d",
                        "worker 1 d");
    }

    /** Its workers take turns, worker 0 last to leave each barrier. */
    private static void region(Timeline timeline, int workers, String... nodes) {
        timeline.region();
        timeline.start(workers);
        for (String path : nodes) {
            for (int w = 0; w < workers; w++) {
                pause();
                timeline.done(w);
            }
            pause();
            for (int w = workers - 1; w >= 0; w--) {
                timeline.passed(w, new Node(path, null, List.of(), null, List.of()));
            }
        }
    }

    private static void pause() {
        long start = System.nanoTime();
        while (System.nanoTime() - start < 10_000) {
            Thread.onSpinWait();
        }
    }
}
