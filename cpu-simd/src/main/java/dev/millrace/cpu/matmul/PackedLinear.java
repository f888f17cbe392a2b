package dev.millrace.cpu.matmul;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.cpu.math.Elementwise;
import dev.millrace.cpu.pool.WorkerPool;
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
        return WeightPanels.supports(format);
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

    private static final Set<Form> FLOATS = EnumSet.of(Form.FLOATS);

    private final WeightPanels[] parts;
    private final boolean gated;
    private final int inputs;
    private final int outputs;
    private final int tiles;
    private final long bytes;
    private final EnumSet<Form> forms;
    /** Whether a part has Q4_1's offsets, which multiply sums of activations. */
    private final boolean offsets;
    /**
     * Whether all weights are multiplied where they lie. Then nothing is unpacked, and many tokens are cut between the workers
     * first: a worker reads what it has laid out itself.
     */
    private final boolean inPlace;

    private PackedLinear(List<WeightPanels> parts, boolean gated) {
        this.parts = parts.toArray(new WeightPanels[0]);
        this.gated = gated;
        inputs = parts.getFirst().inputs();
        outputs = gated ? parts.getFirst().rows() : parts.stream().mapToInt(WeightPanels::rows).reduce(0, Math::addExact);
        tiles = gated ? parts.getFirst().count() : parts.stream().mapToInt(WeightPanels::count).sum();
        bytes = parts.stream().mapToLong(WeightPanels::bytes).sum();
        forms = EnumSet.noneOf(Form.class);
        parts.forEach(p -> forms.add(p.kernels().form()));
        offsets = parts.stream().anyMatch(p -> p.offsets() != 0);
        inPlace = parts.stream().allMatch(p -> p.kernels() == F32Panels.INSTANCE);
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
        Weight first = weights.getFirst();
        if (gated && (weights.size() != 2 || !first.shape().equals(weights.get(1).shape()))) {
            throw new MillraceException("a gated linear map needs two weights of one shape, not "
                    + weights.stream().map(w -> w.name() + " " + w.shape()).toList());
        }
        List<WeightPanels> parts = new ArrayList<>();
        long pair = gated ? WeightPanels.panelBytes(first) + WeightPanels.panelBytes(weights.get(1)) : 0;
        long inPair = gated ? WeightPanels.allocate(first, pair, memory) : 0;
        for (Weight weight : weights) {
            if (weight.shape().columns() != first.shape().columns()) {
                throw new MillraceException(weight.name() + " has " + weight.shape().columns() + " inputs, " + first.name()
                        + " beside it has " + first.shape().columns());
            }
            long bytes = WeightPanels.panelBytes(weight);
            if (gated) {
                parts.add(WeightPanels.pack(weight, inPair, pair, pool, memory));
                inPair += bytes;
            } else {
                parts.add(WeightPanels.pack(weight, WeightPanels.allocate(weight, bytes, memory), bytes, pool, memory));
            }
        }
        return new PackedLinear(parts, gated);
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
     * @param x in blocks only where {@link #readsBlocks} and {@link #warm}
     * @param residual rows added at the end, null for none; may be {@code y} itself, if that is not in blocks
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

    /** Whether so many tokens may come in blocks, once {@link #warm}: they are all that is read of the input then. */
    public boolean readsBlocks(int tokens) {
        return forms.equals(FLOATS) && !Activations.few(Form.FLOATS, tokens);
    }

    /** Whether the kernels for many tokens, and those around them, are compiled, or taken as such; once so it stays so. */
    public boolean warm() {
        if (PlainProduct.AROUND.cold(0)) {
            return false;
        }
        for (WeightPanels part : parts) {
            if (part.starts() != null && part.starts().manyTokens().cold(0)) {
                return false;
            }
        }
        return true;
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
        if (x.blocks()) {
            scratch.input = x.data();
            return false;
        }
        boolean nibbles = forms.contains(Form.NIBBLES);
        boolean scaled = forms.contains(Form.SCALED) && !scratch.few(Form.SCALED);
        boolean floats = forms.contains(Form.FLOATS) && !scratch.few(Form.FLOATS);
        if (nibbles) {
            scratch.nibbles.fill(x, tokens, inputs, offsets, worker, workers);
        }
        if (scaled) {
            scratch.scaledBlocks.fill(x, tokens, inputs, worker, workers);
        }
        if (floats) {
            scratch.input = scratch.blocks;
            scratch.fillBlocks(inputs, worker, workers);
        }
        return nibbles || scaled || floats;
    }

    /** Computes tiles [from, to) for tokens [first, last), the first of a block, of the product that is prepared. */
    private void multiply(
            Activations x, Epilogue epilogue, Rows residual, Rows y, int from, int to, int first, int last, int worker) {
        int together = together(x.tokens);
        int before = 0;
        int output = 0;
        for (int i = 0; i < (gated ? 1 : parts.length); i++) {
            WeightPanels part = parts[i];
            int end = Math.min(part.count(), to - before);
            for (int p = Math.max(0, from - before); p < end; p += together) {
                int n = Math.min(together, end - p);
                part.sums(x, p, n, x.tiles(worker), first, last, worker);
                if (gated) {
                    parts[1].sums(x, p, n, x.secondTiles(worker), first, last, worker);
                }
                for (int t = p; t < p + n; t++) {
                    int rows = Math.min(Panel.ROWS, part.rows() - t * Panel.ROWS);
                    finish(x, t - p, output + t * Panel.ROWS, rows, epilogue, residual, y, first, last - first, worker);
                }
            }
            before += part.count();
            output += part.rows();
        }
    }

    /** Panels that are multiplied with a piece of the input while it is near; a small input is near all the time. */
    private int together(int tokens) {
        return (long) tokens * inputs < LARGE_INPUT ? 1 : Activations.PANELS;
    }

    /** What follows the sums of a panel, which lie in the worker's tile {@code t}, for {@code n} outputs from {@code output} on. */
    private void finish(
            Activations x, int t, int output, int n, Epilogue epilogue, Rows residual, Rows y, int first, int tokens, int worker) {
        float[] sums = x.tiles(worker)[t];
        float[] bias = epilogue.bias();
        if (gated) {
            float[] up = x.secondTiles(worker)[t];
            Outputs.add(sums, tokens, n, bias, output);
            Outputs.add(up, tokens, n, bias, outputs + output);
            Elementwise.gate(epilogue.act(), sums, 0, up, 0, sums, 0, tokens * Panel.ROWS);
            bias = null;
        } else if (epilogue.act() != null) {
            Outputs.add(sums, tokens, n, bias, output);
            Elementwise.activate(epilogue.act(), sums, 0, sums, 0, tokens * Panel.ROWS);
            bias = null;
        }
        Outputs.write(sums, first, tokens, x.tokens, n, bias, output, residual, y);
    }
}
