package dev.millrace.cpu.matmul;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.cpu.math.Elementwise;
import dev.millrace.cpu.pool.WorkerPool;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * One or several linear maps of the same input, laid out in panels for this executor's kernels: their outputs lie side
 * by side, or, where gated, are the gate and the value of one output. Parts may have different formats.
 *
 * <p>Work is counted in tiles, {@link Panel#ROWS} outputs each; a worker takes any range of tiles. What a tile computes
 * does not depend on who computes it or with which others.
 */
public final class PackedLinear {
    /** Formats that can be packed. */
    public static boolean supports(WeightFormat format) {
        return switch (format) {
            case F32, F16, BF16, Q8_0, Q4_0, Q4_1 -> true;
            default -> false;
        };
    }

    /** One part: {@code rows} outputs in panels from {@code address}, {@code stride} apart; {@code offsets} of Q4_1, else 0. */
    private record Part(
            PanelKernels kernels, PlainProduct.Starts starts, long address, long stride, long offsets, int rows, int panels,
            int firstOutput) {
        /** Whether the JIT has yet to compile the kernels. */
        boolean cold(int tokens, int inputs) {
            return starts != null && starts.cold(tokens, inputs);
        }
    }

    /** Pieces that a worker's share of a product of several tokens is cut into, for whoever is free to take. */
    private static final int CHUNKS = 8;

    /** The same for a product so small that pieces would be of fewer panels than are multiplied together. */
    private static final int LEAST_CHUNKS = 4;

    /** The same of one token, bytes: a microsecond's work, beside which taking it is nothing. */
    private static final long PIECE = 1 << 14;

    /** An input of so many elements, 8 MiB, takes longer to come from the last cache than to be multiplied with one panel. */
    private static final long LARGE_INPUT = 1 << 21;

    /** From so many tokens on, reading weights once for each worker takes no time beside multiplying. */
    private static final int CUT_TOKENS = 128;

    private final Part[] parts;
    private final boolean gated;
    private final int inputs;
    private final int outputs;
    private final int tiles;
    private final long bytes;
    private final EnumSet<Form> forms;
    /**
     * Whether all weights are multiplied where they lie. Then nothing is unpacked, and many tokens are cut between the workers
     * first: a worker reads what it has laid out itself.
     */
    private final boolean inPlace;

    private PackedLinear(List<Part> parts, boolean gated, int inputs) {
        this.parts = parts.toArray(new Part[0]);
        this.gated = gated;
        this.inputs = inputs;
        outputs = gated ? parts.getFirst().rows : parts.stream().mapToInt(Part::rows).sum();
        tiles = gated ? parts.getFirst().panels : parts.stream().mapToInt(Part::panels).sum();
        bytes = parts.stream()
                .mapToLong(p -> p.panels * (p.kernels.panelBytes(inputs) + (p.offsets == 0 ? 0 : offsetBytes(inputs))))
                .sum();
        forms = EnumSet.noneOf(Form.class);
        parts.forEach(p -> forms.add(p.kernels.form()));
        inPlace = parts.stream().allMatch(p -> p.kernels == F32Panels.INSTANCE);
    }

    /**
     * Lays out weights, panel by panel, on all workers of the pool. A gate's panel and that of the values it multiplies lie side by
     * side: one is read after the other, and the core reads ahead of one stream better than of two in turns.
     *
     * @param weights [outputs, inputs] each, with the same inputs
     * @param gated whether they are a gate and the values it multiplies, of one shape
     * @param memory where the panels go; freeing it ends the use of the map
     * @throws MillraceException when the shapes do not fit together or a format has no kernels here
     */
    public static PackedLinear pack(List<Weight> weights, boolean gated, WorkerPool pool, WeightMemory memory) {
        int inputs = Math.toIntExact(weights.getFirst().shape().columns());
        if (gated && (weights.size() != 2 || !weights.get(0).shape().equals(weights.get(1).shape()))) {
            throw new MillraceException("a gated linear map needs two weights of one shape, not "
                    + weights.stream().map(w -> w.name() + " " + w.shape()).toList());
        }
        List<Part> parts = new ArrayList<>();
        int firstOutput = 0;
        long pair = gated ? weights.stream().mapToLong(w -> kernels(w).panelBytes(inputs)).sum() : 0;
        long inPair = gated ? allocate(weights.getFirst(), pair, memory) : 0;
        for (Weight weight : weights) {
            if (weight.shape().columns() != inputs) {
                throw new MillraceException(weight.name() + " has " + weight.shape().columns() + " inputs, "
                        + weights.getFirst().name() + " beside it has " + inputs);
            }
            long panelBytes = kernels(weight).panelBytes(inputs);
            long address = gated ? inPair : allocate(weight, panelBytes, memory);
            Part part = pack(weight, address, gated ? pair : panelBytes, firstOutput, pool, memory);
            parts.add(part);
            inPair += panelBytes;
            firstOutput = gated ? 0 : Math.addExact(firstOutput, part.rows);
        }
        return new PackedLinear(parts, gated, inputs);
    }

    /** Outputs of a token. */
    public int outputs() {
        return outputs;
    }

    /** Inputs of a token. */
    public int inputs() {
        return inputs;
    }

    /** Units of work. */
    public int tiles() {
        return tiles;
    }

    /** The forms in which the parts read activations. */
    public Set<Form> forms() {
        return forms;
    }

    /** Bytes of packed weights: what one pass over them reads. */
    public long bytes() {
        return bytes;
    }

    /**
     * {@code y = epilogue(x W^T) (+ residual)} for {@code tokens} rows, on all workers of the pool: every worker of a
     * region calls it with the same arguments. There may be a barrier inside; what the workers have written is complete
     * after the next barrier.
     *
     * @param residual rows added at the end, null for none; may be {@code y} itself
     * @param scratch made for at least these tokens and inputs
     */
    public void apply(
            Rows x, int tokens, Epilogue epilogue, Rows residual, Rows y, Activations scratch, WorkerPool pool, int worker) {
        int workers = pool.active();
        if (prepare(x, tokens, scratch, worker, workers)) {
            pool.barrier(worker);
        }
        if (tokens == 1) {
            one(scratch, epilogue, residual, y, pool, worker, workers);
            return;
        }
        int chunk = Math.max(tiles / (CHUNKS * workers), Math.min(together(tokens), tiles / (LEAST_CHUNKS * workers)));
        chunk = Math.max(1, chunk);
        int chunks = Math.ceilDiv(tiles, chunk);
        int shares = inPlace && tokens >= CUT_TOKENS ? workers : 1;
        int all = chunks * shares;
        for (int c = pool.claim(worker, all); c >= 0; c = pool.claim(worker, all)) {
            int share = c / chunks;
            int from = c % chunks * chunk;
            int first = scratch.firstToken(share, shares);
            int last = scratch.firstToken(share + 1, shares);
            multiply(scratch, epilogue, residual, y, from, Math.min(tiles, from + chunk), first, last, worker);
        }
    }

    /** One token: the first half of a worker's share is its own, the other half goes in pieces to whoever is free. */
    private void one(
            Activations x, Epilogue epilogue, Rows residual, Rows y, WorkerPool pool, int worker, int workers) {
        if (forms.contains(Form.NIBBLES)) {
            Q4Panels.copyFactors(x.nibbles, inputs / 32, x.factors(worker));
        }
        int piece = (int) Math.max(1, PIECE * tiles / bytes);
        int pieces = workers == 1 ? 0 : tiles / (2 * workers * piece);
        multiply(x, epilogue, residual, y, firstTile(worker, workers), firstTile(worker + 1, workers) - pieces * piece, 0, 1, worker);
        if (pieces == 0) {
            return;
        }
        for (int c = pool.claim(worker, pieces * workers); c >= 0; c = pool.claim(worker, pieces * workers)) {
            int from = firstTile(c / pieces + 1, workers) - (pieces - c % pieces) * piece;
            multiply(x, epilogue, residual, y, from, from + piece, 0, 1, worker);
        }
    }

    private int firstTile(int worker, int workers) {
        return (int) ((long) tiles * worker / workers);
    }

    /**
     * This worker's share of bringing the input into the form the kernels read.
     *
     * @return whether a barrier must follow before {@link #multiply}
     */
    boolean prepare(Rows x, int tokens, Activations scratch, int worker, int workers) {
        scratch.rows = x;
        scratch.tokens = tokens;
        boolean nibbles = forms.contains(Form.NIBBLES);
        boolean scaled = forms.contains(Form.SCALED) && !scratch.few(Form.SCALED);
        boolean floats = forms.contains(Form.FLOATS) && !scratch.few(Form.FLOATS);
        if (nibbles) {
            scratch.nibbles.fill(x, tokens, inputs, worker, workers);
        }
        if (scaled) {
            scratch.scaledBlocks.fill(x, tokens, inputs, worker, workers);
        }
        if (floats) {
            scratch.fillBlocks(inputs, worker, workers);
        }
        return nibbles || scaled || floats;
    }

    /** Computes tiles [from, to) for tokens [first, last), the first of a block, of the product that is prepared. */
    private void multiply(
            Activations x, Epilogue epilogue, Rows residual, Rows y, int from, int to, int first, int last, int worker) {
        int together = together(x.tokens);
        int before = 0;
        for (int i = 0; i < (gated ? 1 : parts.length); i++) {
            Part part = parts[i];
            int end = Math.min(part.panels, to - before);
            for (int p = Math.max(0, from - before); p < end; p += together) {
                int n = Math.min(together, end - p);
                sums(x, part, p, n, x.tiles(worker), first, last, worker);
                if (gated) {
                    sums(x, parts[1], p, n, x.secondTiles(worker), first, last, worker);
                }
                for (int t = 0; t < n; t++) {
                    finish(x, part, p + t, t, epilogue, residual, y, first, last - first, worker);
                }
            }
            before += part.panels;
        }
    }

    /** Panels that are multiplied with a piece of the input while it is near; a small input is near all the time. */
    private int together(int tokens) {
        return (long) tokens * inputs < LARGE_INPUT ? 1 : Activations.PANELS;
    }

    /** What follows the sums of a panel, which lie in the worker's tile {@code t}. */
    private void finish(
            Activations x, Part part, int panel, int t, Epilogue epilogue, Rows residual, Rows y, int first, int tokens, int worker) {
        float[] sums = x.tiles(worker)[t];
        int output = part.firstOutput + panel * Panel.ROWS;
        int n = Math.min(Panel.ROWS, part.rows - panel * Panel.ROWS);
        if (gated) {
            float[] up = x.secondTiles(worker)[t];
            bias(epilogue.bias(), output, n, tokens, sums);
            bias(epilogue.bias(), outputs + output, n, tokens, up);
            Elementwise.gate(epilogue.act(), sums, 0, up, 0, sums, 0, tokens * Panel.ROWS);
            write(sums, first, tokens, null, output, n, residual, y);
        } else if (epilogue.act() == null) {
            write(sums, first, tokens, epilogue.bias(), output, n, residual, y);
        } else {
            bias(epilogue.bias(), output, n, tokens, sums);
            Elementwise.activate(epilogue.act(), sums, 0, sums, 0, tokens * Panel.ROWS);
            write(sums, first, tokens, null, output, n, residual, y);
        }
    }

    /**
     * Sums of {@code n} panels from {@code panel} on: [panel][token - first][row of the panel]. Only a product of
     * {@link #inPlace} weights may be of a part of the tokens.
     */
    private void sums(Activations x, Part part, int panel, int n, float[][] sums, int first, int last, int worker) {
        long address = part.address + panel * part.stride;
        if (part.kernels instanceof Q4Panels) {
            long offsets = part.offsets == 0 ? 0 : part.offsets + panel * offsetBytes(inputs);
            nibbles(x, address, part.stride, n, offsets, sums, worker);
            return;
        }
        UnpackedKernels kernels = (UnpackedKernels) part.kernels;
        boolean cold = part.cold(x.tokens, inputs);
        if (!cold && x.tokens > 1 && !x.few(kernels.form())) {
            many(kernels, x, address, part.stride, n, sums, first, last, worker);
            return;
        }
        for (int i = 0; i < n; i++, address += part.stride) {
            if (cold) {
                PlainProduct.sums(kernels, address, inputs, x, first, last, sums[i]);
            } else if (x.tokens == 1) {
                kernels.gemv(address, inputs, x, 0, sums[i], 0);
            } else {
                kernels.few(address, inputs, x, sums[i]);
            }
        }
    }

    private void many(
            UnpackedKernels kernels, Activations x, long panel, long stride, int n, float[][] sums, int first, int last, int worker) {
        long[] weights = new long[n];
        for (int k = 0; k < inputs; k += Activations.COLUMNS) {
            int end = Math.min(inputs, k + Activations.COLUMNS);
            for (int i = 0; i < n; i++) {
                weights[i] = kernels.unpack(panel + i * stride, k, end, x.panel(worker, i));
            }
            for (int b = first / Activations.BLOCK; b * Activations.BLOCK < last; b++) {
                int at = (b * Activations.BLOCK - first) * Panel.ROWS;
                for (int i = 0; i < n; i++) {
                    if (kernels.form() == Form.FLOATS) {
                        Microkernel.multiply(x.blocks, x.at(b, k, end - k), weights[i], end - k, sums[i], at, k == 0);
                    } else {
                        int from = x.scaledBlocks.at(b, inputs / 32, k / 32);
                        WinogradKernel.multiply(x.scaledBlocks.pieces, from, weights[i], (end - k) / 32, sums[i], at, k == 0);
                    }
                }
            }
        }
    }

    private void nibbles(Activations x, long panel, long stride, int n, long offsets, float[][] sums, int worker) {
        int groups = inputs / 32;
        if (x.tokens == 1) {
            Q4Panels.dot(panel, groups, x.nibbles, x.factors(worker), sums[0], x.panel(worker, 0));
            if (offsets != 0) {
                F32Panels.dot(offsets, groups, x.nibbles.sums, 0, sums[0], 0, true);
            }
            return;
        }
        NibbleKernel.multiply(panel, stride, n, groups, x.nibbles, x.tokens, sums, x.panel(worker, 0));
        for (int i = 0; offsets != 0 && i < n; i++) {
            for (int b = 0; b < x.tokenBlocks(); b++) {
                int block = b * Activations.BLOCK;
                long weights = offsets + i * offsetBytes(inputs);
                Microkernel.multiply(x.nibbles.sums, block * groups, weights, groups, sums[i], block * Panel.ROWS, false);
            }
        }
    }

    private static void bias(float[] bias, int output, int n, int tokens, float[] sums) {
        if (bias == null) {
            return;
        }
        if (byVectors(n, tokens)) {
            Outputs.add(sums, tokens, bias, output);
            return;
        }
        for (int t = 0; t < tokens; t++) {
            for (int r = 0; r < n; r++) {
                sums[t * Panel.ROWS + r] += bias[output + r];
            }
        }
    }

    private static boolean byVectors(int n, int tokens) {
        return n == Panel.ROWS && tokens > 1 && !PlainProduct.AROUND.cold((long) n * tokens);
    }

    private static void write(
            float[] sums, int first, int tokens, float[] bias, int output, int n, Rows residual, Rows y) {
        if (byVectors(n, tokens)) {
            Outputs.write(sums, first, tokens, bias, output, residual, y);
            return;
        }
        bias(bias, output, n, tokens, sums);
        for (int t = 0; t < tokens; t++) {
            int out = y.at(first + t) + output;
            if (residual == null) {
                System.arraycopy(sums, t * Panel.ROWS, y.data(), out, n);
            } else {
                int in = residual.at(first + t) + output;
                for (int r = 0; r < n; r++) {
                    y.data()[out + r] = sums[t * Panel.ROWS + r] + residual.data()[in + r];
                }
            }
        }
    }

    private static PanelKernels kernels(Weight weight) {
        return switch (weight.format()) {
            case F32 -> F32Panels.INSTANCE;
            case F16 -> F16Panels.INSTANCE;
            case BF16 -> Bf16Panels.INSTANCE;
            case Q8_0 -> Q8Panels.INSTANCE;
            case Q4_0 -> Q4Panels.Q4_0;
            case Q4_1 -> Q4Panels.Q4_1;
            default -> throw new MillraceException(
                    weight.name() + " is " + weight.format() + ": the CPU executor has no kernels for it");
        };
    }

    /** Address of room for {@code bytes} bytes for each panel of a weight. */
    private static long allocate(Weight weight, long bytes, WeightMemory memory) {
        return memory.allocate(Math.multiplyExact(Panel.count(Math.toIntExact(weight.shape().rows())), bytes)).address();
    }

    /** Lays out a weight in panels from {@code address}, {@code stride} apart. */
    private static Part pack(Weight weight, long address, long stride, int firstOutput, WorkerPool pool, WeightMemory memory) {
        PanelKernels kernels = kernels(weight);
        int rows = Math.toIntExact(weight.shape().rows());
        int inputs = Math.toIntExact(weight.shape().columns());
        int panels = Panel.count(rows);
        boolean offset = kernels == Q4Panels.Q4_1;
        long offsets = offset ? memory.allocate(panels * offsetBytes(inputs)).address() : 0;
        long rowBytes = weight.format().rowBytes(inputs);
        if (ColumnPacking.pack(weight, kernels, address, stride, pool)) {
            return new Part(kernels, PlainProduct.starts(kernels), address, stride, offsets, rows, panels, firstOutput);
        }
        pool.run((worker, workers) -> {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment source = arena.allocate(rowBytes * Panel.ROWS, 64);
                for (int p = pool.claim(worker, panels); p >= 0; p = pool.claim(worker, panels)) {
                    int count = Math.min(Panel.ROWS, rows - p * Panel.ROWS);
                    if (count < Panel.ROWS) {
                        source.fill((byte) 0);
                    }
                    weight.copyRows((long) p * Panel.ROWS, count, source);
                    kernels.pack(source, inputs, address + p * stride);
                    if (offset) {
                        Q4Panels.packOffsets(source, inputs, offsets + p * offsetBytes(inputs));
                    }
                }
            }
        });
        return new Part(kernels, PlainProduct.starts(kernels), address, stride, offsets, rows, panels, firstOutput);
    }

    private static long offsetBytes(int inputs) {
        return F32Panels.INSTANCE.panelBytes(inputs / 32);
    }
}
