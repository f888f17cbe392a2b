package dev.millrace.cpu.matmul;

import java.lang.foreign.Arena;
import java.util.Set;

/**
 * The input of linear maps as the kernels read it, and the work space of the workers that multiply. Made once for the
 * largest product and used again for every one; {@link PackedLinear#apply} fills it. A few tokens stay rows, more are laid
 * out in blocks of {@link #BLOCK}.
 */
public final class Activations implements AutoCloseable {
    /** Tokens that a matrix product takes through the registers together. */
    public static final int BLOCK = Microkernel.TOKENS;

    /** Columns of a panel that are unpacked at a time. */
    static final int COLUMNS = 512;

    /**
     * Panels that many tokens are multiplied with together, so that the tokens come from memory, or from a cache that all cores
     * share, once for all of these panels.
     */
    static final int PANELS = 8;

    /** Up to so many tokens are multiplied with panels as they are; more of them in blocks, with unpacked ones. */
    private static final int FEW_FLOATS = 16;

    private static final int FEW_SCALED = 3;

    /** Largest number of tokens in one product. */
    public final int maxTokens;

    Rows rows;
    int tokens;
    /** Where the tokens lie in blocks: {@link #blocks}, or where the product before this one has left them. */
    float[] input;
    /** The tokens in blocks; null where the maps do not read that form, as with the others. */
    final float[] blocks;
    /** The tokens in blocks, scaled. */
    final ScaledBlocks scaledBlocks;
    /** The tokens in 8 bits. */
    final NibbleFactors nibbles;

    private final Arena arena = Arena.ofShared();
    private final long scratch;
    private final long factorBytes;
    private final long factors;
    private final float[][][] tiles;
    private final long[][] unpacked;

    /**
     * @param maxTokens most tokens in a product
     * @param maxInputs most columns of a weight
     * @param workers workers that will take part
     * @param forms what the maps read, {@link PackedLinear#forms}
     */
    public Activations(int maxTokens, int maxInputs, int workers, Set<Form> forms) {
        this.maxTokens = maxTokens;
        int padded = padded(maxTokens);
        blocks = maxTokens > FEW_FLOATS && forms.contains(Form.FLOATS) ? new float[Math.multiplyExact(padded, maxInputs)] : null;
        scaledBlocks = maxTokens > FEW_SCALED && forms.contains(Form.SCALED) ? new ScaledBlocks(padded, maxInputs, workers) : null;
        nibbles = forms.contains(Form.NIBBLES) ? new NibbleFactors(padded, maxInputs) : null;
        scratch = arena.allocate(PANELS * panelBytes() * workers, 64).address();
        factorBytes = nibbles == null ? 0 : Q4Panels.factorBytes(Math.ceilDiv(maxInputs, 32));
        factors = nibbles == null ? 0 : arena.allocate(factorBytes * workers, 64).address();
        tiles = new float[2 * workers][PANELS][padded * Panel.ROWS];
        unpacked = new long[workers][PANELS];
    }

    /** Bytes it holds. */
    public long bytes() {
        return (blocks == null ? 0 : 4L * blocks.length)
                + (scaledBlocks == null ? 0 : scaledBlocks.bytes())
                + (nibbles == null ? 0 : nibbles.bytes())
                + (PANELS * panelBytes() + factorBytes) * tiles.length / 2
                + 4L * tiles.length * PANELS * tiles[0][0].length;
    }

    @Override
    public void close() {
        arena.close();
    }

    /** Whether kernels that read this form multiply so few tokens with panels as they are, and read {@link #rows}. */
    boolean few(Form form) {
        return few(form, tokens);
    }

    static boolean few(Form form, int tokens) {
        return switch (form) {
            case FLOATS -> tokens <= FEW_FLOATS;
            case SCALED -> tokens <= FEW_SCALED;
            case NIBBLES -> false;
        };
    }

    /** Address of a worker's space for {@link #COLUMNS} unpacked columns of one of {@link #PANELS} panels. */
    long panel(int worker, int i) {
        return scratch + (PANELS * worker + i) * panelBytes();
    }

    /** Where a worker has its {@link #PANELS} panels unpacked: addresses. */
    long[] unpacked(int worker) {
        return unpacked[worker];
    }

    /** Address of a worker's own copy of a single token's factors, {@link Q4Panels#copyFactors}. */
    long factors(int worker) {
        return factors + factorBytes * worker;
    }

    /** A worker's space for the sums of {@link #PANELS} panels for all tokens: [panel][token][row of the panel]. */
    float[][] tiles(int worker) {
        return tiles[2 * worker];
    }

    /** The same for as many other panels. */
    float[][] secondTiles(int worker) {
        return tiles[2 * worker + 1];
    }

    int tokenBlocks() {
        return Math.ceilDiv(tokens, BLOCK);
    }

    /**
     * Where columns [k, k + columns) of a token block begin in {@link #blocks}: {@link #COLUMNS} columns of all blocks
     * lie together, in the order in which a panel is multiplied with them.
     */
    int at(int block, int k, int columns) {
        return at(tokenBlocks(), block, k, columns);
    }

    /** The same among {@code blocks} blocks. */
    static int at(int blocks, int block, int k, int columns) {
        return BLOCK * (blocks * k + block * columns);
    }

    /** {@code tokens} rounded up to whole blocks. */
    public static int padded(int tokens) {
        return Math.ceilDiv(tokens, BLOCK) * BLOCK;
    }

    /** The first token of a share; shares are of whole blocks. */
    int firstToken(int share, int shares) {
        return Math.min(tokens, tokenBlocks() * share / shares * BLOCK);
    }

    /** Lays out a share of the token blocks. */
    void fillBlocks(int inputs, int worker, int workers) {
        int all = tokenBlocks();
        boolean cold = PlainProduct.AROUND.cold((long) tokens * inputs / workers);
        for (int b = all * worker / workers; b < all * (worker + 1) / workers; b++) {
            for (int k = 0; k < inputs; k += COLUMNS) {
                fill(b, k, Math.min(COLUMNS, inputs - k), cold);
            }
        }
    }

    private void fill(int block, int k, int columns, boolean cold) {
        int out = at(block, k, columns);
        int first = block * BLOCK;
        int in = rows.at(first) + k;
        int done = 0;
        if (!cold && first + BLOCK <= tokens) {
            for (; done <= columns - Turn.COLUMNS; done += Turn.COLUMNS) {
                Turn.turn(rows.data(), in + done, rows.stride(), blocks, out + BLOCK * done);
            }
        }
        for (int t = 0; t < BLOCK; t++) {
            // tokens past the last one repeat it: their sums are not used
            int row = rows.at(Math.min(first + t, tokens - 1)) + k;
            for (int i = done; i < columns; i++) {
                blocks[out + BLOCK * i + t] = rows.data()[row + i];
            }
        }
    }

    private static long panelBytes() {
        return COLUMNS / 32 * (long) WinogradKernel.BLOCK;
    }
}
