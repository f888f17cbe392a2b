package dev.millrace.cuda;

import dev.millrace.cuda.driver.Geometry;
import java.util.function.ToIntFunction;

/**
 * How many clusters of 2, 3, ... blocks of decoding run at once. Multiprocessors lie in groups of odd numbers, so that larger clusters
 * leave some idle: of an H200's 264 blocks, two a multiprocessor, 248 run in clusters of four.
 *
 * @param atOnce at n, clusters of n blocks that leave room for a second one on their multiprocessor; 0 for none
 * @param alone the same of blocks that leave none
 */
record Clusters(int[] atOnce, int[] alone) {
    private static final int MOST = LaunchRules.MOST_CLUSTER;
    private static final int SMALL = 16 * 1024;

    /** More than half of the shared memory that a multiprocessor has. */
    private static final int LARGE = 128 * 1024;

    /** Of a device without clusters. */
    static final Clusters NONE = new Clusters(new int[MOST + 1], new int[MOST + 1]);

    /** @param device answers how many clusters of a launch it runs at once */
    static Clusters of(ToIntFunction<Geometry> device) {
        return new Clusters(of(device, SMALL), of(device, LARGE));
    }

    private static int[] of(ToIntFunction<Geometry> device, int shared) {
        int[] clusters = new int[MOST + 1];
        for (int n = 2; n <= MOST; n++) {
            clusters[n] = device.applyAsInt(new Geometry(1, 1, n, LaunchRules.THREADS, shared, n));
        }
        return clusters;
    }
}
