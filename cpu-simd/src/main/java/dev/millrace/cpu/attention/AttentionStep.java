package dev.millrace.cpu.attention;

import dev.millrace.core.graph.Op;
import dev.millrace.cpu.kv.KvCache;
import dev.millrace.cpu.math.Elementwise;
import dev.millrace.cpu.matmul.Activations;
import dev.millrace.cpu.matmul.Rows;
import dev.millrace.cpu.pool.WorkerPool;
import dev.millrace.cpu.step.Buffer;
import dev.millrace.cpu.step.Chunk;
import dev.millrace.cpu.step.Handover;
import dev.millrace.cpu.step.Normalizer;
import dev.millrace.cpu.step.Step;

/**
 * {@link Op.Attention} and {@link Op.SelfAttention}: norms and rotation of queries and keys, appending to the cache,
 * and softmax(q k^T) v over one tile of positions after the other, so that the scores of a whole sequence never exist.
 *
 * <p>While decoding, the tiles of all key/value heads of all sequences are laid end to end and cut into one run for
 * each worker. A head that a cut goes through is finished from the workers' partial sums. While reading prompts,
 * workers take blocks of queries of one key/value head after the other, the longest first. All query heads of a group go over its keys
 * together.
 */
public final class AttentionStep implements Step {
    /** Where queries, keys or values are: rows of {@code stride} floats, the first head at {@code offset}. */
    public record Source(Buffer buffer, int stride, int offset) {}

    private static final int TILE = KvCache.TILE;

    private final Op.Attention op;
    private final Source q;
    private final Source k;
    private final Source v;
    private final Normalizer qNorm;
    private final Normalizer kNorm;
    private final Rotation rotation;
    private final Buffer y;
    private final Handover out;
    private final int slot;
    private final AttentionScratch scratch;
    private final WorkerPool pool;

    /**
     * @param qNorm for every query head, or null
     * @param kNorm for every key head, or null
     * @param rotation of queries and keys, or null
     * @param out the output, where it may be left in blocks; null where it is left in rows
     * @param slot index of the cache among a session's; unused where nothing is kept
     */
    public AttentionStep(
            Op.Attention op,
            Source q,
            Source k,
            Source v,
            Normalizer qNorm,
            Normalizer kNorm,
            Rotation rotation,
            Buffer y,
            Handover out,
            int slot,
            AttentionScratch scratch,
            WorkerPool pool) {
        this.op = op;
        this.q = q;
        this.k = k;
        this.v = v;
        this.qNorm = qNorm;
        this.kNorm = kNorm;
        this.rotation = rotation;
        this.y = y;
        this.out = out;
        this.slot = slot;
        this.scratch = scratch;
        this.pool = pool;
    }

    @Override
    public void ready(Chunk chunk) {
        if (!op.causal()) {
            long positions = 0;
            for (int piece = 0; piece < chunk.pieces(); piece++) {
                positions += KvCache.positions(chunk.count(piece));
            }
            scratch.ensure(positions);
        }
        if (out != null) {
            out.ready(inBlocks(chunk) ? chunk.tokens() : 1);
        }
    }

    /** Whether blocks of queries are whole blocks of tokens, and heads whole vectors. */
    private boolean inBlocks(Chunk chunk) {
        return chunk.pieces() == 1
                && scratch.tokensPerBlock == Activations.padded(scratch.tokensPerBlock)
                && op.headDim() % KvCache.BLOCK == 0;
    }

    @Override
    public void run(Chunk chunk, int first, int rows, int worker, int workers) {
        if (op.causal() && chunk.tokens() == chunk.pieces()) {
            decode(chunk, worker, workers);
        } else {
            prefill(chunk, worker, workers);
        }
    }

    // ---- one token of each sequence

    private void decode(Chunk chunk, int worker, int workers) {
        long total = 0;
        for (int piece = 0; piece < chunk.pieces(); piece++) {
            total += (long) op.kvHeads() * tiles(chunk, piece);
        }
        // cut for all workers of the pool, however many are here: sums are rounded the same then
        int shares = pool.workers();
        for (int share = worker; share < shares; share += workers) {
            decodeShare(chunk, total, share, shares);
        }
        if (cut(chunk, total, shares)) {
            pool.barrier(worker);
            for (int share = worker; share < shares; share += workers) {
                join(chunk, total, share, shares);
            }
        }
    }

    private void decodeShare(Chunk chunk, long total, int worker, int workers) {
        long from = total * worker / workers;
        long to = total * (worker + 1) / workers;
        long at = 0;
        for (int piece = 0; piece < chunk.pieces(); piece++) {
            int tiles = tiles(chunk, piece);
            for (int head = 0; head < op.kvHeads() && at < to; head++, at += tiles) {
                long low = Math.max(from - at, 0);
                long high = Math.min(to - at, tiles);
                if (low < high) {
                    decode(chunk, piece, head, (int) low, (int) high, tiles, worker);
                }
            }
        }
    }

    private void decode(Chunk chunk, int piece, int head, int low, int high, int tiles, int worker) {
        TileScratch tile = scratch.tiles[worker];
        int row = chunk.row(piece);
        int position = chunk.start(piece);
        KvCache cache = chunk.cache(piece, slot);
        if (high == tiles) {
            append(cache, row, head, position, worker);
        }
        int start = first(position) / TILE + low;
        gather(tile, row, 1, head, position);
        tile.clear(scratch.groups);
        int begin = Math.max(start * TILE, first(position));
        tile.add(cache, head, scratch.groups, begin, Math.min((start + high - low) * TILE, position + 1));
        if (low == 0 && high == tiles) {
            write(tile, row, 1, head);
        } else {
            tile.save(scratch.groups, scratch.saved[worker], low > 0 ? 0 : scratch.saved[worker].length / 2);
        }
    }

    /** Whether the border between two workers' runs goes through a head. */
    private boolean cut(Chunk chunk, long total, int workers) {
        for (int w = 1; w < workers; w++) {
            long border = total * w / workers;
            for (int piece = 0; piece < chunk.pieces(); piece++) {
                long length = (long) op.kvHeads() * tiles(chunk, piece);
                if (border < length && border % tiles(chunk, piece) != 0) {
                    return true;
                }
                border -= length;
                if (border <= 0) {
                    break;
                }
            }
        }
        return false;
    }

    /** Finishes the head that starts in this worker's run and ends in another's. */
    private void join(Chunk chunk, long total, int worker, int workers) {
        long from = total * worker / workers;
        long to = total * (worker + 1) / workers;
        long at = 0;
        for (int piece = 0; piece < chunk.pieces(); piece++) {
            int tiles = tiles(chunk, piece);
            for (int head = 0; head < op.kvHeads(); head++, at += tiles) {
                if (at >= from && at < to && at + tiles > to) {
                    TileScratch tile = scratch.tiles[worker];
                    tile.clear(scratch.groups);
                    tile.merge(scratch.groups, scratch.saved[worker], scratch.saved[worker].length / 2);
                    for (int w = worker + 1; total * w / workers < at + tiles; w++) {
                        if (total * w / workers < total * (w + 1) / workers) {
                            tile.merge(scratch.groups, scratch.saved[w], 0);
                        }
                    }
                    write(tile, chunk.row(piece), 1, head);
                }
            }
        }
    }

    private int tiles(Chunk chunk, int piece) {
        int position = chunk.start(piece);
        return position / TILE - first(position) / TILE + 1;
    }

    // ---- many tokens

    private void prefill(Chunk chunk, int worker, int workers) {
        append(chunk, worker, workers);
        pool.barrier(worker);
        int items = 0;
        for (int p = 0; p < chunk.pieces(); p++) {
            items += blocks(chunk, p) * op.kvHeads();
        }
        for (int item = pool.claim(worker, items); item >= 0; item = pool.claim(worker, items)) {
            int p = 0;
            int left = item;
            while (left >= blocks(chunk, p) * op.kvHeads()) {
                left -= blocks(chunk, p++) * op.kvHeads();
            }
            // all of a head one after the other: its keys and values stay in the second-level cache
            int blocks = blocks(chunk, p);
            attend(chunk, p, left / blocks, blocks - 1 - left % blocks, worker);
        }
    }

    /**
     * Appends this worker's share of the tokens, a block of keys after the other, each head by head: a head's block is written
     * where it stays in the cache, and the tokens come from memory once for all heads.
     */
    private void append(Chunk chunk, int worker, int workers) {
        int end = Step.share(chunk.tokens(), KvCache.BLOCK, worker + 1, workers);
        for (int from = Step.share(chunk.tokens(), KvCache.BLOCK, worker, workers); from < end; from += KvCache.BLOCK) {
            int to = Math.min(end, from + KvCache.BLOCK);
            for (int head = 0; head < op.kvHeads(); head++) {
                append(chunk, from, to, head, worker);
            }
        }
    }

    private void append(Chunk chunk, int from, int to, int head, int worker) {
        int piece = -1;
        long base = 0;
        KvCache cache = null;
        for (int t = from; t < to; t++) {
            if (chunk.pieceOf(t) != piece) {
                piece = chunk.pieceOf(t);
                base = base(chunk, piece);
                cache = cache(chunk, piece);
            }
            append(cache, t, head, base + chunk.position(t), worker);
        }
    }

    private int blocks(Chunk chunk, int piece) {
        return (chunk.count(piece) + scratch.tokensPerBlock - 1) / scratch.tokensPerBlock;
    }

    private void attend(Chunk chunk, int piece, int head, int block, int worker) {
        TileScratch tile = scratch.tiles[worker];
        int from = block * scratch.tokensPerBlock;
        int tokens = Math.min(scratch.tokensPerBlock, chunk.count(piece) - from);
        int row = chunk.row(piece) + from;
        int position = chunk.start(piece) + from;
        int count = tokens * scratch.groups;
        int base = Math.toIntExact(base(chunk, piece));
        gather(tile, row, tokens, head, position);
        for (int r = 0; r < count; r++) {
            tile.first[r] += base;
            tile.last[r] = base + (op.causal() ? tile.last[r] : chunk.start(piece) + chunk.count(piece) - 1);
        }
        tile.clear(count);
        tile.add(cache(chunk, piece), head, count, tile.first[0], tile.last[count - 1] + 1);
        Rows blocks = out == null ? null : out.blocks(chunk.tokens());
        if (blocks == null) {
            write(tile, row, tokens, head);
        } else {
            tile.finish(count);
            writeBlocks(tile, row, tokens, head, chunk.tokens(), blocks);
        }
    }

    private KvCache cache(Chunk chunk, int piece) {
        return op.causal() ? chunk.cache(piece, slot) : scratch.kept();
    }

    /** Where a piece's position 0 is in its cache. */
    private long base(Chunk chunk, int piece) {
        long base = 0;
        if (!op.causal()) {
            for (int p = 0; p < piece; p++) {
                base += KvCache.positions(chunk.count(p));
            }
        }
        return base;
    }

    // ---- both

    /** The first position that the token at {@code position} sees. */
    private int first(int position) {
        return op.window() > 0 ? Math.max(0, position - op.window() + 1) : 0;
    }

    private void append(KvCache cache, int row, int head, long position, int worker) {
        float[] key = k.buffer().data();
        int at = row * k.stride() + k.offset() + head * op.headDim();
        if (kNorm != null || rotation != null) {
            prepare(kNorm, row, key, at, scratch.key[worker], 0);
            key = scratch.key[worker];
            at = 0;
        }
        int vAt = row * v.stride() + v.offset() + head * op.headDim();
        cache.put(head, position, key, at, v.buffer().data(), vAt);
    }

    /** Copies the queries of a group of heads of {@code tokens} rows to {@code tile}, ready to multiply. */
    private void gather(TileScratch tile, int row, int tokens, int head, int position) {
        for (int t = 0; t < tokens; t++) {
            for (int g = 0; g < scratch.groups; g++) {
                int r = t * scratch.groups + g;
                int h = head * scratch.groups + g;
                int at = (row + t) * q.stride() + q.offset() + h * op.headDim();
                float[] x = q.buffer().data();
                if (qNorm != null || rotation != null) {
                    prepare(qNorm, row + t, x, at, tile.q, r * op.headDim());
                    x = tile.q;
                    at = r * op.headDim();
                }
                Elementwise.scale(x, at, tile.q, r * op.headDim(), op.headDim(), op.scale() * SoftmaxKernels.LOG2E);
                tile.first[r] = first(position + t);
                tile.last[r] = position + t;
            }
        }
    }

    private void prepare(Normalizer norm, int row, float[] x, int xAt, float[] y, int yAt) {
        int n = op.headDim();
        if (norm != null) {
            norm.apply(x, xAt, y, yAt, n);
        } else {
            System.arraycopy(x, xAt, y, yAt, n);
        }
        if (rotation != null) {
            int step = rotation.rope().headDim();
            for (int i = 0; i < n; i += step) {
                rotation.rotate(row, y, yAt + i, y, yAt + i);
            }
        }
    }

    /** Writes finished rows, which begin with the first token of a block, to {@code blocks} of {@code all} tokens. */
    private void writeBlocks(TileScratch tile, int row, int tokens, int head, int all, Rows blocks) {
        int stride = scratch.groups * tile.padded;
        for (int t = 0; t < tokens; t += Activations.BLOCK) {
            for (int g = 0; g < scratch.groups; g++) {
                int column = (head * scratch.groups + g) * op.headDim();
                blocks.turn(all, row + t, column, op.headDim(), tile.out, t * stride + g * tile.padded, stride);
            }
        }
    }

    private void write(TileScratch tile, int row, int tokens, int head) {
        for (int t = 0; t < tokens; t++) {
            for (int g = 0; g < scratch.groups; g++) {
                int h = head * scratch.groups + g;
                int at = ((row + t) * op.heads() + h) * op.headDim();
                tile.write(t * scratch.groups + g, y.data(), at);
            }
        }
    }
}
