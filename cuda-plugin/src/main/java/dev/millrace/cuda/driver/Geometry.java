package dev.millrace.cuda.driver;

/**
 * How many threads run a kernel.
 *
 * @param gridX blocks
 * @param gridY blocks in the second dimension
 * @param gridZ blocks in the third dimension
 * @param block threads a block
 * @param sharedBytes dynamic shared memory of a block
 * @param cluster blocks of neighbouring {@code z} that run at once and see each other's shared memory; 1: none
 * @param allShared whether all of a multiprocessor's memory is to be shared memory, and none of it a cache, so that blocks of the next
 *     launch fit beside those of this one; goes for the kernel from its first such launch on
 */
public record Geometry(int gridX, int gridY, int gridZ, int block, int sharedBytes, int cluster, boolean allShared) {
    public Geometry {
        if (gridX < 1 || gridY < 1 || gridZ < 1 || gridY > 65535 || gridZ > 65535 || block < 1 || block > 1024) {
            throw new IllegalArgumentException(
                    "grid " + gridX + " x " + gridY + " x " + gridZ + ", block " + block + ": out of the device's range");
        }
        if (cluster < 1 || cluster > 8 || gridZ % cluster != 0) {
            throw new IllegalArgumentException("clusters of " + cluster + " in a grid of depth " + gridZ);
        }
    }

    public Geometry(int gridX, int gridY, int gridZ, int block, int sharedBytes, int cluster) {
        this(gridX, gridY, gridZ, block, sharedBytes, cluster, false);
    }

    public Geometry(int gridX, int gridY, int gridZ, int block, int sharedBytes) {
        this(gridX, gridY, gridZ, block, sharedBytes, 1);
    }

    public static Geometry of(int grid, int block) {
        return new Geometry(grid, 1, 1, block, 0);
    }

    public static Geometry of(int gridX, int gridY, int block, int sharedBytes) {
        return new Geometry(gridX, gridY, 1, block, sharedBytes);
    }
}
