package dev.millrace.cuda;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.RoofProbe;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.cuda.driver.DeviceBuffer;
import dev.millrace.cuda.driver.Geometry;
import dev.millrace.cuda.driver.Gpu;
import dev.millrace.cuda.driver.GpuEvent;
import dev.millrace.cuda.driver.GpuStream;
import dev.millrace.cuda.driver.PinnedBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** The device's roofs, measured with kernels that do nothing else ({@code roof.cu}). */
final class CudaRoofs implements RoofProbe {
    private static final long FAR_BEYOND_CACHES = 4L << 30;
    private static final long TRANSFER = 256L << 20;
    private static final int REGISTER_ROUNDS = 20_000;
    private static final int TILE_ROUNDS = 4_000;

    private final Gpu gpu;
    private final Kernels kernels;
    private final boolean strict;
    private final GpuStream stream;
    private final GpuEvent before;
    private final GpuEvent after;

    /** @param strict whether products of float32 weights stay float32 */
    CudaRoofs(Gpu gpu, Kernels kernels, boolean strict) {
        this.gpu = gpu;
        this.kernels = kernels;
        this.strict = strict;
        this.stream = gpu.stream();
        this.before = gpu.event();
        this.after = gpu.event();
    }

    @Override
    public Set<Kind> kinds() {
        return EnumSet.of(
                Kind.READ,
                Kind.COPY,
                Kind.FMA_F32,
                Kind.MATRIX_F32,
                Kind.MATRIX_TF32,
                Kind.MATRIX_F16,
                Kind.MATRIX_BF16,
                Kind.HOST_TO_DEVICE,
                Kind.DEVICE_TO_HOST,
                Kind.LAUNCH);
    }

    @Override
    public Kind computeRoof(WeightFormat format) {
        return switch (Format.supported().contains(format) ? Format.of(format).compute() : Format.F32) {
            case BF16 -> Kind.MATRIX_BF16;
            case F16 -> Kind.MATRIX_F16;
            default -> strict ? Kind.MATRIX_F32 : Kind.MATRIX_TF32;
        };
    }

    @Override
    public Sample measure(Kind kind, int threads, long bytes, int millis) {
        gpu.use();
        return switch (kind) {
            case READ -> read(bytes > 0 ? bytes : most(FAR_BEYOND_CACHES, 1), millis);
            case COPY -> copy(bytes > 0 ? bytes : most(FAR_BEYOND_CACHES, 2), millis);
            // strict float32 products run on the same units as plain multiply-adds
            case FMA_F32, MATRIX_F32 -> arithmetic(
                    "roof_fma", 8 * gpu.multiprocessors(), REGISTER_ROUNDS, 256 * 32.0, millis);
            case MATRIX_TF32 -> matrix("roof_tf32", 8, millis);
            case MATRIX_F16 -> matrix("roof_f16", 16, millis);
            case MATRIX_BF16 -> matrix("roof_bf16", 16, millis);
            case HOST_TO_DEVICE -> transfer(bytes > 0 ? bytes : TRANSFER, true, millis);
            case DEVICE_TO_HOST -> transfer(bytes > 0 ? bytes : TRANSFER, false, millis);
            case LAUNCH -> launch(millis);
            case DOT_INT8, PING_PONG -> throw new MillraceException(CudaProvider.NAME + " measures no " + kind);
        };
    }

    private long most(long bytes, int buffers) {
        return Math.min(bytes, gpu.freeBytes() / (2L * buffers)) & ~0xFFFFL;
    }

    private Sample read(long bytes, int millis) {
        int rounds = Math.clamp((1L << 30) / bytes, 1, 1 << 16);
        try (DeviceBuffer in = gpu.allocate(bytes, "a roof's working set");
                DeviceBuffer out = gpu.allocate(256, "a roof's result")) {
            stream.clear(in.address(), bytes);
            List<Runnable> ways = new ArrayList<>();
            for (Geometry g : shapes()) {
                ways.add(() -> {
                    write(in.address(), out.address(), bytes / 16, rounds);
                    stream.launch(kernels.get("roof_read"), g);
                });
            }
            double moved = (double) (bytes / 16) * 16 * rounds;
            return best(ways, millis, seconds -> moved / seconds / 1e9);
        }
    }

    private Sample copy(long bytes, int millis) {
        try (DeviceBuffer in = gpu.allocate(bytes, "a roof's working set");
                DeviceBuffer out = gpu.allocate(bytes, "a roof's working set")) {
            stream.clear(in.address(), bytes);
            List<Runnable> ways = new ArrayList<>();
            ways.add(() -> stream.copy(in.address(), out.address(), bytes / 16 * 16));
            for (Geometry g : shapes()) {
                ways.add(() -> {
                    write(in.address(), out.address(), bytes / 16, 1);
                    stream.launch(kernels.get("roof_copy"), g);
                });
            }
            return best(ways, millis, seconds -> 2.0 * (bytes / 16) * 16 / seconds / 1e9);
        }
    }

    /** Grids that keep every multiprocessor busy; which is fastest differs from card to card. */
    private List<Geometry> shapes() {
        int sm = gpu.multiprocessors();
        return List.of(
                Geometry.of(2 * sm, 512), Geometry.of(4 * sm, 512), Geometry.of(8 * sm, 256), Geometry.of(32 * sm, 256));
    }

    /** The best of several ways to do the same: a roof is what can be had at most. */
    private Sample best(List<Runnable> ways, int millis, Rate rate) {
        return ways.stream()
                .map(way -> sample(millis / ways.size(), rate, way))
                .max(Comparator.comparingDouble(Sample::median))
                .orElseThrow();
    }

    private Sample matrix(String kernel, int depth, int millis) {
        int blocks = 2 * gpu.multiprocessors();
        // a block of 8 warps: on 9.0 two warpgroups of 4 products of 64 x 128, elsewhere 8 warps of 8 of 16 x 8
        double products = gpu.capability() == 90 ? 2 * 4 * 64.0 * 128 : 8 * 8 * 16.0 * 8;
        return arithmetic(kernel, blocks, TILE_ROUNDS, 2 * products * depth, millis);
    }

    private Sample arithmetic(String kernel, int blocks, int rounds, double operationsOfABlock, int millis) {
        try (DeviceBuffer out = gpu.allocate(256, "a roof's result")) {
            double operations = operationsOfABlock * rounds * blocks;
            return sample(millis, seconds -> operations / seconds / 1e9, () -> {
                write(0, out.address(), 0, rounds);
                stream.launch(kernels.get(kernel), Geometry.of(blocks, 256));
            });
        }
    }

    private Sample transfer(long bytes, boolean toDevice, int millis) {
        try (PinnedBuffer host = gpu.pin(bytes);
                DeviceBuffer there = gpu.allocate(bytes, "a roof's working set")) {
            return sample(millis, seconds -> bytes / seconds / 1e9, () -> {
                if (toDevice) {
                    stream.upload(host.segment(), there.address(), bytes);
                } else {
                    stream.download(there.address(), host.segment(), bytes);
                }
            });
        }
    }

    private Sample launch(int millis) {
        List<Double> times = new ArrayList<>();
        long end = System.nanoTime() + millis * 1_000_000L;
        while (System.nanoTime() < end || times.size() < 100) {
            long start = System.nanoTime();
            write(0, 0, 0, 0);
            stream.launch(kernels.get("roof_empty"), Geometry.of(1, 32));
            stream.await();
            times.add((System.nanoTime() - start) / 1e3);
        }
        return middle(times.subList(times.size() / 5, times.size()));
    }

    private void write(long in, long out, long count, int rounds) {
        stream.arguments().begin().put(in).put(out).put(count).put(rounds).put(0);
    }

    private interface Rate {
        double of(double seconds);
    }

    /** Runs {@code work} for about {@code millis}, after one run to warm up; the device's own events time each. */
    private Sample sample(int millis, Rate rate, Runnable work) {
        work.run();
        stream.await();
        List<Double> rates = new ArrayList<>();
        long end = System.nanoTime() + millis * 1_000_000L;
        while (rates.size() < 5 || System.nanoTime() < end) {
            stream.mark(before);
            work.run();
            stream.mark(after);
            after.await();
            rates.add(rate.of(after.millisSince(before) / 1e3));
        }
        return middle(rates);
    }

    private static Sample middle(List<Double> values) {
        List<Double> sorted = values.stream().sorted().toList();
        return new Sample(sorted.get(sorted.size() / 2), sorted.getFirst(), sorted.getLast());
    }

    @Override
    public void close() {
        gpu.use();
        after.close();
        before.close();
        stream.close();
    }
}
