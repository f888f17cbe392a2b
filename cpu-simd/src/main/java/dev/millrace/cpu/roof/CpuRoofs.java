package dev.millrace.cpu.roof;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.cpu.matmul.WeightMemory;
import dev.millrace.cpu.pool.WorkerPool;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Set;

/**
 * What the cores and their memory can do at most.
 *
 * <ul>
 *   <li>READ: every worker sums a part of its own of native memory in huge pages
 *   <li>COPY: every worker copies a part of its own; bytes read plus bytes written
 *   <li>FMA_F32: float multiply-adds between registers
 *   <li>DOT_INT8: multiplications and additions of 16-bit lanes between registers: the form in which the Vector API can
 *       multiply 8-bit numbers, since it reaches no instruction for their dot product. Two operations for each lane
 *   <li>LAUNCH: a parallel region in which nobody does anything
 *   <li>PING_PONG: a cache line that two workers write in turn; one round trip. Needs two workers
 * </ul>
 */
public final class CpuRoofs implements RoofProbe {
    private static final long FAR_BEYOND_CACHES = 1L << 29;
    /** Bytes of one call: long enough to stream, and many calls, so that the compiler sees whole ones. */
    private static final long READ_BLOCK = 1L << 18;

    private static final int ROUND_TRIPS = 10_000;

    private final int workers;
    /** Keeps results alive. */
    private volatile double sink;

    /** @param workers how many the executor has */
    public CpuRoofs(int workers) {
        this.workers = workers;
    }

    @Override
    public Set<Kind> kinds() {
        Set<Kind> kinds = EnumSet.of(Kind.READ, Kind.COPY, Kind.FMA_F32, Kind.DOT_INT8, Kind.LAUNCH);
        if (workers > 1) {
            kinds.add(Kind.PING_PONG);
        }
        return kinds;
    }

    @Override
    public Sample measure(Kind kind, int threads, long bytes, int millis) {
        if (!kinds().contains(kind)) {
            throw new MillraceException("cpu-simd with " + workers + " workers cannot measure " + kind);
        }
        long set = bytes == 0 ? FAR_BEYOND_CACHES : bytes;
        int count = threads == 0 ? workers : threads;
        try (WorkerPool pool = new WorkerPool(kind == Kind.PING_PONG ? 2 : count)) {
            return switch (kind) {
                case READ -> read(pool, set, millis);
                case COPY -> copy(pool, set, millis);
                case FMA_F32 -> rate(pool, millis, RoofKernels.multiplyAddOps(), turns ->
                        RoofKernels.multiplyAdd(turns, 0.25f));
                case DOT_INT8 -> rate(pool, millis, RoofKernels.multiplyAddShortsOps(), turns ->
                        RoofKernels.multiplyAddShorts(turns, (short) 3));
                case LAUNCH -> launch(pool, millis);
                case PING_PONG -> pingPong(pool, millis);
                default -> throw new IllegalArgumentException(kind.name());
            };
        }
    }

    @Override
    public Kind computeRoof(WeightFormat format) {
        return switch (format) {
            case Q4_0, Q4_1 -> Kind.DOT_INT8; // multiplied as 16-bit numbers; all others become floats
            default -> Kind.FMA_F32;
        };
    }

    @Override
    public void close() {}

    /** What one call of a kernel does. */
    private interface Kernel {
        double run(int turns);
    }

    private Sample read(WorkerPool pool, long bytes, int millis) {
        long step = (long) RoofKernels.READ_STEP * pool.workers();
        long set = Math.max(step, bytes / step * step);
        try (WeightMemory memory = new WeightMemory()) {
            MemorySegment m = memory.allocate(set);
            long passes = Math.max(1, (1L << 24) / set); // a sample reads 16 MiB or more, so that a clock can time it
            pool.run((w, n) -> m.asSlice(set / n * w, set / n).fill((byte) 0));
            WorkerPool.Region region = (w, n) -> {
                float sum = 0;
                long end = set / n * (w + 1);
                for (long pass = 0; pass < passes; pass++) {
                    for (long at = set / n * w; at < end; at += READ_BLOCK) {
                        sum += RoofKernels.read(m, at, Math.min(end, at + READ_BLOCK));
                    }
                }
                sink = sum;
            };
            return samples(millis, set * passes / 1e9, () -> pool.run(region));
        }
    }

    private Sample copy(WorkerPool pool, long bytes, int millis) {
        long part = Math.max(64, bytes / 2 / pool.workers() / 64 * 64);
        try (WeightMemory memory = new WeightMemory()) {
            MemorySegment from = memory.allocate(part * pool.workers());
            MemorySegment to = memory.allocate(part * pool.workers());
            long passes = Math.max(1, (1L << 24) / part);
            WorkerPool.Region region = (w, n) -> {
                for (long pass = 0; pass < passes; pass++) {
                    MemorySegment.copy(from, part * w, to, part * w, part);
                }
            };
            pool.run((w, n) -> from.asSlice(part * w, part).fill((byte) 1));
            return samples(millis, 2.0 * part * pool.workers() * passes / 1e9, () -> pool.run(region));
        }
    }

    private Sample rate(WorkerPool pool, int millis, long ops, Kernel kernel) {
        int turns = 2_000;
        int calls = 200; // short calls: a method that runs once would be compiled in the middle of its loop, worse
        WorkerPool.Region region = (w, n) -> {
            double sum = 0;
            for (int call = 0; call < calls; call++) {
                sum += kernel.run(turns);
            }
            sink = sum;
        };
        return samples(millis, (double) ops * turns * calls * pool.workers() / 1e9, () -> pool.run(region));
    }

    private Sample launch(WorkerPool pool, int millis) {
        WorkerPool.Region nothing = (w, n) -> {};
        int times = 1_000;
        return inverse(samples(millis, times / 1e6, () -> {
            for (int i = 0; i < times; i++) {
                pool.run(nothing);
            }
        }));
    }

    private Sample pingPong(WorkerPool pool, int millis) {
        PingPong ball = new PingPong();
        WorkerPool.Region region = (w, n) -> ball.play(w, ROUND_TRIPS);
        return inverse(samples(millis, ROUND_TRIPS / 1e9, () -> {
            ball.reset();
            pool.run(region);
        }));
    }

    /** Runs for {@code millis} after a quarter of that to warm up; {@code work} per second of each run. */
    private static Sample samples(int millis, double work, Runnable run) {
        long start = System.nanoTime();
        long warm = start + millis * 250_000L;
        for (int i = 0; i < 3 || System.nanoTime() < warm; i++) {
            run.run();
        }
        long end = System.nanoTime() + millis * 1_000_000L;
        double[] rates = new double[16];
        int count = 0;
        while (count < 3 || System.nanoTime() < end) {
            long before = System.nanoTime();
            run.run();
            if (count == rates.length) {
                rates = Arrays.copyOf(rates, 2 * count);
            }
            rates[count++] = work / ((System.nanoTime() - before) / 1e9);
        }
        Arrays.sort(rates, 0, count);
        return new Sample(rates[count / 2], rates[0], rates[count - 1]);
    }

    /** Time for a unit of work from work for a unit of time. */
    private static Sample inverse(Sample rate) {
        return new Sample(1 / rate.median(), 1 / rate.max(), 1 / rate.min());
    }
}
