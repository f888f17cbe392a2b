package dev.millrace.cpu.matmul;

import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.cpu.pool.WorkerPool;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Times {@link PackedLinear} through the worker pool, with the roofs of the same run: reading memory and multiply-adds.
 *
 * <p>{@code MatMulHarness [threads=2] [formats=F32,Q4_0] [gemv=4096x2048] [gemm=2048x2048] [tokens=512] [rounds=7]}
 */
public final class MatMulHarness {
    private static final long FOOTPRINT = 512L << 20;

    private static volatile float sink;

    private MatMulHarness() {}

    public static void main(String[] args) {
        int threads = Integer.parseInt(option(args, "threads", "2"));
        int rounds = Integer.parseInt(option(args, "rounds", "7"));
        List<WeightFormat> formats = Arrays.stream(option(args, "formats", "F32,F16,BF16,Q8_0,Q4_0").split(","))
                .map(WeightFormat::valueOf)
                .toList();
        try (WorkerPool pool = new WorkerPool(threads)) {
            String gemv = option(args, "gemv", "4096x2048");
            if (!gemv.equals("none")) {
                for (WeightFormat format : formats) {
                    gemv(pool, format, gemv, rounds, Integer.parseInt(option(args, "batch", "1")));
                }
            }
            String gemm = option(args, "gemm", "2048x2048,2304x768,3072x768,768x3072");
            if (!gemm.equals("none")) {
                for (String shape : gemm.split(",")) {
                    for (WeightFormat format : formats) {
                        gemm(pool, format, shape, Integer.parseInt(option(args, "tokens", "512")), rounds);
                    }
                }
            }
        }
    }

    private static void gemv(WorkerPool pool, WeightFormat format, String shape, int rounds, int tokens) {
        int outputs = Integer.parseInt(shape.split("x")[0]);
        int inputs = Integer.parseInt(shape.split("x")[1]);
        Weight weight = new Synthetic(format, outputs, inputs);
        int copies = (int) Math.max(1, FOOTPRINT / weight.bytes());
        try (WeightMemory memory = new WeightMemory();
                Activations scratch = new Activations(tokens, inputs, pool.workers(), EnumSet.allOf(Form.class))) {
            List<PackedLinear> linears = new ArrayList<>();
            long start = System.nanoTime();
            for (int i = 0; i < copies; i++) {
                linears.add(PackedLinear.pack(List.of(weight), false, pool, memory));
            }
            double packing = (double) copies * weight.bytes() / (System.nanoTime() - start);
            long bytes = linears.stream().mapToLong(PackedLinear::bytes).sum();
            Rows x = random(tokens, inputs);
            Rows y = new Rows(new float[tokens * outputs], 0, outputs);
            WorkerPool.Region pass = (worker, workers) -> {
                for (int i = 0; i < linears.size(); i++) {
                    linears.get(i).apply(x, tokens, Epilogue.NONE, null, y, scratch, pool, worker);
                    pool.barrier(worker);
                }
            };
            MemorySegment roofMemory = memory.allocate(bytes);
            for (long o = 0; o < bytes - 8; o += 4096) {
                roofMemory.set(java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED, o, 1);
            }
            long address = roofMemory.address();
            WorkerPool.Region read = (worker, workers) -> {
                long part = bytes / workers / 512 * 512;
                sink = sum(address + worker * part, part);
            };
            for (int i = 0; i < 3; i++) {
                pool.run(pass);
                pool.run(read);
            }
            double[] rate = new double[rounds];
            double[] roof = new double[rounds];
            for (int i = 0; i < rounds; i++) {
                roof[i] = bytes / seconds(pool, read) / 1e9;
                rate[i] = bytes / seconds(pool, pass) / 1e9;
            }
            double[] ratio = new double[rounds];
            Arrays.setAll(ratio, i -> 100 * rate[i] / roof[i]);
            System.out.printf(
                    "gemv %-5s %s x%d  T=%d  %6.1f GB/s (%.1f-%.1f)  roof %6.1f (%.1f-%.1f)  %3.0f%%  %.1f us each; packed at %.2f GB/s%n",
                    format, shape, tokens, pool.workers(), median(rate), min(rate), max(rate), median(roof), min(roof), max(roof), median(ratio),
                    bytes / median(rate) / 1e3 / copies, packing);
            if (Boolean.getBoolean("rounds")) {
                System.out.println("   " + Arrays.stream(rate).mapToObj(r -> "%.1f".formatted(r)).toList());
            }
        }
    }

    private static void gemm(WorkerPool pool, WeightFormat format, String shape, int tokens, int rounds) {
        int outputs = Integer.parseInt(shape.split("x")[0]);
        int inputs = Integer.parseInt(shape.split("x")[1]);
        try (WeightMemory memory = new WeightMemory();
                Activations scratch = new Activations(tokens, inputs, pool.workers(), EnumSet.allOf(Form.class))) {
            PackedLinear linear = PackedLinear.pack(List.of(new Synthetic(format, outputs, inputs)), false, pool, memory);
            Rows x = random(tokens, inputs);
            Rows y = new Rows(new float[tokens * outputs], 0, outputs);
            double operations = 2.0 * tokens * outputs * inputs;
            int repeats = (int) Math.max(1, 6e9 / operations);
            WorkerPool.Region pass = (worker, workers) -> {
                for (int i = 0; i < repeats; i++) {
                    linear.apply(x, tokens, Epilogue.NONE, null, y, scratch, pool, worker);
                    pool.barrier(worker);
                }
            };
            WorkerPool.Region prepare = (worker, workers) -> {
                for (int i = 0; i < repeats; i++) {
                    linear.prepare(x, tokens, scratch, worker, workers);
                    pool.barrier(worker);
                }
            };
            WorkerPool.Region fma = (worker, workers) -> {
                for (int i = 0; i < 1000; i++) {
                    sink = multiplyAdds(5000);
                }
            };
            for (int i = 0; i < 3; i++) {
                pool.run(pass);
                pool.run(fma);
                pool.run(prepare);
            }
            double[] rate = new double[rounds];
            double[] roof = new double[rounds];
            double[] prep = new double[rounds];
            for (int i = 0; i < rounds; i++) {
                roof[i] = 5e6 * 12 * 2 * Panel.LANES * pool.workers() / seconds(pool, fma) / 1e9;
                rate[i] = operations * repeats / seconds(pool, pass) / 1e9;
                prep[i] = seconds(pool, prepare) / repeats * 1e6;
            }
            System.out.printf(
                    "gemm %-5s %s x%d  T=%d  %6.1f GFLOP/s (%.1f-%.1f)  roof %6.1f (%.1f-%.1f)  %3.0f%%  %.0f us, preparing %.0f us%n",
                    format, shape, tokens, pool.workers(), median(rate), min(rate), max(rate), median(roof), min(roof), max(roof),
                    100 * median(rate) / median(roof), operations / median(rate) / 1e3, median(prep));
        }
    }

    private static double seconds(WorkerPool pool, WorkerPool.Region region) {
        long start = System.nanoTime();
        pool.run(region);
        return (System.nanoTime() - start) / 1e9;
    }

    private static float sum(long address, long bytes) {
        FloatVector a = FloatVector.zero(Panel.F), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
        long step = 8L * Panel.F_BYTES;
        for (long o = address, end = address + bytes; o < end; o += step) {
            a = a.add(FloatVector.fromMemorySegment(Panel.F, Panel.ALL, o, Panel.LE));
            b = b.add(FloatVector.fromMemorySegment(Panel.F, Panel.ALL, o + Panel.F_BYTES, Panel.LE));
            c = c.add(FloatVector.fromMemorySegment(Panel.F, Panel.ALL, o + 2 * Panel.F_BYTES, Panel.LE));
            d = d.add(FloatVector.fromMemorySegment(Panel.F, Panel.ALL, o + 3 * Panel.F_BYTES, Panel.LE));
            e = e.add(FloatVector.fromMemorySegment(Panel.F, Panel.ALL, o + 4 * Panel.F_BYTES, Panel.LE));
            f = f.add(FloatVector.fromMemorySegment(Panel.F, Panel.ALL, o + 5 * Panel.F_BYTES, Panel.LE));
            g = g.add(FloatVector.fromMemorySegment(Panel.F, Panel.ALL, o + 6 * Panel.F_BYTES, Panel.LE));
            h = h.add(FloatVector.fromMemorySegment(Panel.F, Panel.ALL, o + 7 * Panel.F_BYTES, Panel.LE));
        }
        return a.add(b).add(c.add(d)).add(e.add(f).add(g.add(h))).reduceLanes(VectorOperators.ADD);
    }

    /** Twelve independent chains. */
    private static float multiplyAdds(int n) {
        FloatVector x = FloatVector.broadcast(Panel.F, 0.999f), y = FloatVector.broadcast(Panel.F, 1e-3f);
        FloatVector a = y, b = y, c = y, d = y, e = y, f = y, g = y, h = y, i = y, j = y, k = y, l = y;
        for (int r = 0; r < n; r++) {
            a = a.fma(x, y);
            b = b.fma(x, y);
            c = c.fma(x, y);
            d = d.fma(x, y);
            e = e.fma(x, y);
            f = f.fma(x, y);
            g = g.fma(x, y);
            h = h.fma(x, y);
            i = i.fma(x, y);
            j = j.fma(x, y);
            k = k.fma(x, y);
            l = l.fma(x, y);
        }
        return a.add(b).add(c.add(d)).add(e.add(f).add(g.add(h))).add(i.add(j).add(k.add(l))).reduceLanes(VectorOperators.ADD);
    }

    private static Rows random(int rows, int columns) {
        Random random = new Random(1);
        float[] x = new float[rows * columns];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) random.nextGaussian();
        }
        return new Rows(x, 0, columns);
    }

    private static String option(String[] args, String name, String otherwise) {
        return Arrays.stream(args)
                .filter(a -> a.startsWith(name + "="))
                .map(a -> a.substring(name.length() + 1))
                .findFirst()
                .orElse(otherwise);
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    private static double min(double[] values) {
        return Arrays.stream(values).min().orElseThrow();
    }

    private static double max(double[] values) {
        return Arrays.stream(values).max().orElseThrow();
    }

    /** A weight whose rows all come from the same few rows of random values: quick to make at any size. */
    private record Synthetic(WeightFormat format, int rows, int columns, RandomWeight few) implements Weight {
        Synthetic(WeightFormat format, int rows, int columns) {
            this(format, rows, columns, new RandomWeight(format, Panel.ROWS, columns, new Random(2)));
        }

        @Override
        public String name() {
            return "synthetic";
        }

        @Override
        public Shape shape() {
            return new Shape(rows, columns);
        }

        @Override
        public void copyRows(long from, long count, MemorySegment target) {
            few.copyRows(0, count, target);
        }

        @Override
        public void decodeRows(long from, long count, float[] target, int offset) {
            few.decodeRows(0, count, target, offset);
        }
    }
}
