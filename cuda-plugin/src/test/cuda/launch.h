// The launch rules of the kernels, as the Java side's LaunchRules has them.
#pragma once
#include <algorithm>
#include "../../main/cuda/layer_abi.cuh"

struct Launch { dim3 grid; int block; size_t shared; int cluster = 1; /* blocks of one z that share memory */ };

inline int roundUp(int a, int b) { return (a + b - 1) / b * b; }
inline int ceilDiv(int a, int b) { return (a + b - 1) / b; }

// Clusters of so many blocks of 256 threads that run at once, two blocks an SM; zeros where there are none. Those of four blocks
// or more cannot fill the card: its parts have odd numbers of SMs.
inline int clusterLimit[9], clusterAlone[9]; // of blocks that are alone on an SM

// One row of x and weights in blocks: gemv_q8_0, gemv_q4_0, gemv_q4_1. A cluster shares the columns, and clusters the rows, of which
// each has kSlices whole tiles or one more. Four blocks where x is long, and an eighth fewer than there is room for, so that the
// next launch's start meanwhile; but two, and all, where rows are many: bytes are what counts then.
inline Launch gemvQuantLaunch(LinearArgs& a, int sm, int blocks = 0) {
    const int units = ceilDiv(a.w.n, 16), columns = a.w.ld / 128;
    if (!blocks) blocks = columns < 16 || !clusterLimit[4] ? 1 : units <= 32 * (clusterLimit[4] * 7 / 8) ? 4 : 2;
    const int atOnce = blocks == 1 ? 2 * sm : blocks == 2 ? clusterLimit[2] : clusterLimit[blocks] * 7 / 8;
    const int clusters = std::min(units, atOnce * ceilDiv(units, 128 * atOnce));
    a.kSlices = units / clusters;
    size_t most = 0;
    for (int rows : {a.kSlices, ceilDiv(units, clusters)}) {
        const size_t bytes = 64 * (roundUp(rows, blocks) + rows * (rows < 8 ? 8 : 2));
        most = std::max(most, bytes);
    }
    return {dim3(clusters, 1, blocks), 256, most + size_t(ceilDiv(columns, blocks)) * (a.w.fmt == FMT_Q4_1 ? 416 : 400), blocks};
}
// One row of x and plain weights, on 9.0 only: gemv_f32_one, gemv_f16_one, gemv_bf16_one. Two blocks share the columns of long rows,
// in steps of 32 x 16 bytes; clusters share the rows, of which each has kSlices pairs or one more. All of the card, but three quarters
// of it where a matrix is so small that blocks have asked for it before x is there, so that the next launch's start meanwhile.
inline bool gemvOne(const LinearArgs& a) { return a.w.fmt < FMT_Q8_0 && a.m == 1 && clusterLimit[2]; }
inline Launch gemvOneLaunch(LinearArgs& a, int sm, int blocks = 0) {
    const int units = ceilDiv(a.w.n, 2), step = a.w.fmt == FMT_F32 ? 128 : 256, steps = ceilDiv(a.w.ld, step);
    const bool small = (long long)units * steps <= 5ll * 8 * 2 * sm;
    if (!blocks) blocks = steps >= 16 && !small ? 2 : 1;
    const int atOnce = blocks == 1 ? (small ? std::max(1, 3 * sm / 2) : 2 * sm) : clusterLimit[blocks];
    const int clusters = ceilDiv(units, std::min(1024, ceilDiv(units, atOnce)));
    a.kSlices = units / clusters;
    size_t most = 0;
    for (int pairs : {a.kSlices, ceilDiv(units, clusters)}) {
        const size_t bytes = 8 * (roundUp(roundUp(pairs, blocks), 2) + pairs * (pairs < 8 ? 8 : 2));
        most = std::max(most, bytes);
    }
    return {dim3(clusters, 1, blocks), 256, most + size_t(ceilDiv(steps, blocks)) * step * 4, blocks};
}
// Fills kSlices: warps that share a row. Two blocks of 8 warps an SM; enough rows or slices for every warp, and an equal number of
// rounds for each.
inline Launch gemvLaunch(LinearArgs& a, int sm, int slices = 0) {
    const bool quant = a.w.fmt >= FMT_Q8_0;
    if (quant && a.m == 1) return gemvQuantLaunch(a, sm, slices);
    if (gemvOne(a)) return gemvOneLaunch(a, sm, slices);
    const int perRow = quant ? 3 * a.w.ld + a.w.ld / 8 * (a.w.fmt == FMT_Q4_1 ? 2 : 1) : 4 * a.w.ld;
    int mt = a.m >= 3 ? 4 : a.m;
    while (mt > 1 && mt * perRow > 200 * 1024) mt /= 2;
    int units; // groups of rows
    if (quant) {
        units = ceilDiv(a.w.n, 16);
        const int columns = a.w.ld / 128, depth = a.w.fmt == FMT_Q8_0 ? 2 : 4; // tiles that a lane loads ahead
        // a block's warps on one row tile; where tiles are many, each warp its own: a tile's end costs a barrier
        a.kSlices = 8;
        while (a.kSlices > 1 && (a.kSlices > columns || units * a.kSlices / 2 >= 24 * sm)) a.kSlices /= 2;
        while (a.w.ld <= 2048 && a.kSlices > 2 && columns < 2 * depth * a.kSlices && units * a.kSlices / 2 >= 15 * sm) a.kSlices /= 2;
    } else {
        int vecs = a.w.ld / (a.w.fmt == FMT_F32 ? 4 : 8);
        const int rows = 2; // a warp takes at once; and at most 8 steps of 32 vectors a row: best or within 3% of it in every shape of the sweep
        units = ceilDiv(a.w.n, rows);
        a.kSlices = 1;
        while (a.kSlices < 8 && ceilDiv(vecs, 32 * a.kSlices) > 8) a.kSlices *= 2;
    }
    if (slices) a.kSlices = slices; // to try another
    const int perBlock = 8 / a.kSlices, slots = 2 * sm * perBlock, rounds = ceilDiv(units, slots);
    return {dim3(ceilDiv(ceilDiv(units, rounds), perBlock), quant ? ceilDiv(a.m, mt) : 1), 256, size_t(mt) * perRow};
}
// normalize_warps: rows that a warp holds; normalize_warps_wide, up to 2048 elements, where blocks of a row would not all run at once.
inline bool normWarps(const NormArgs& a, int sm) {
    return a.norm.kind != NORM_NONE && a.norm.group == a.width && a.width <= (a.rows > 2 * sm ? 2048 : 1024) && (a.width & 3) == 0;
}
// gemm_f16_small, gemm_bf16_small, gemm_tf32_small: where 128 x 128 tiles would leave half of the card idle.
inline bool gemmSmall(const LinearArgs& a, int sm, bool tf32) {
    bool has = a.w.fmt == FMT_F16 || a.w.fmt == FMT_BF16 || (a.w.fmt == FMT_F32 && tf32);
    return has && ceilDiv(a.m, 128) * ceilDiv(a.w.n, 128) * 2 <= sm;
}
inline Launch smallLaunch(const LinearArgs& a, int sm) { // shares of k of at least 3 steps, as long as the blocks run at once
    int columns = ceilDiv(a.gated ? roundUp(a.w.n, 128) : a.w.n, 64); // reaches the end of a padded row
    int tiles = ceilDiv(a.m, 64) * columns, steps = ceilDiv(a.w.ld * (a.w.fmt == FMT_F32 ? 4 : 2), 128);
    int splits = std::max(1, std::min({sm / tiles, steps / 3, 8}));
    splits = ceilDiv(steps, ceilDiv(steps, splits)); // none without work
    return {dim3(ceilDiv(a.m, 64), columns, splits), 256, 12 * 16384};
}
// gemm_f32, gemm_f32_small, gemm_f32_few: tiles of bm x bn, k in steps of `unit`. `blocks` blocks take whole tiles in turn and
// share out the last a.kSlices. Clocks: a step's multiply-adds at `rate` of one a lane and clock where a multiprocessor has
// all the blocks it can hold, at `alone` of that with one; and what a round of tiles' ends and sharing cost. Fitted to
// `speed calibrate-strict`.
struct StrictKind { int bm, bn, unit, threads, perSm; double rate, alone; size_t shared; };
static const StrictKind strictKinds[] = {
    {128, 128, 16, 128, 2, 0.69, 0.9, 3 * 256 * 64}, {64, 64, 64, 128, 2, 0.675, 0.83, 12 * 128 * 64}, {32, 64, 128, 256, 1, 0.665, 1, 24 * 96 * 64}};
struct StrictPlan { int kind, blocks, together; double cost; };
inline double strictCost(const LinearArgs& a, int sm, int kind, int blocks, int together) {
    const StrictKind& s = strictKinds[kind];
    const int tiles = ceilDiv(a.m, s.bm) * ceilDiv(a.w.n, s.bn), steps = ceilDiv(a.w.k, s.unit), slots = sm * s.perSm;
    const double sums = s.bm * s.bn, step = sums * s.unit / (128 * s.rate); // of a multiprocessor
    auto round = [&](int of, double each) { return of > sm ? s.perSm * each : of > 0 ? each / s.alone : 0; };
    const int full = (tiles - together) / slots, rest = together ? 0 : tiles % slots;
    double cost = full * round(slots, steps * step) + round(rest, steps * step) + (full + (together || rest ? 1 : 0)) * 1.87 * sums;
    if (together) {
        const double share = ceilDiv(together * steps, blocks) / double(steps);
        cost += round(blocks, share * steps * step) + 5700 + (1 / std::min(1., share) + 1) * 0.19 * sums;
    }
    return cost;
}
inline StrictPlan strictPlan(const LinearArgs& a, int sm) {
    StrictPlan best = {0, 0, 0, 1e18};
    for (int kind = 0; kind < 3; kind++) {
        const StrictKind& s = strictKinds[kind];
        const int tiles = ceilDiv(a.m, s.bm) * ceilDiv(a.w.n, s.bn), steps = ceilDiv(a.w.k, s.unit), slots = sm * s.perSm;
        auto consider = [&](int blocks, int together) {
            if (together && together * steps < 2 * blocks) return;
            const double cost = strictCost(a, sm, kind, blocks, together);
            if (cost < best.cost) best = {kind, blocks, together, cost};
        };
        consider(tiles, 0);
        for (int blocks = sm; blocks <= slots; blocks += sm) {
            if (tiles > slots && blocks == slots && tiles % slots) consider(slots, tiles % slots), consider(slots, tiles % slots + slots);
            if (tiles <= blocks) consider(blocks, tiles);
        }
        for (int s = 2; tiles * s <= slots; s++) consider(tiles * s, tiles);
    }
    return best;
}
inline Launch strictLaunch(LinearArgs& a, const StrictPlan& p) {
    a.kSlices = p.together;
    return {dim3(p.blocks), strictKinds[p.kind].threads, strictKinds[p.kind].shared};
}
// gemm_tf32, gemm_f16, gemm_bf16, gemm_q8_0, gemm_q4_0, gemm_q4_1; work 64 MiB, counters zero. And the strict ones, above.
inline Launch gemmLaunch(LinearArgs& a, int sm, bool tf32) {
    if (gemmSmall(a, sm, tf32)) return smallLaunch(a, sm);
    if (a.w.fmt == FMT_F32 && !tf32) return strictLaunch(a, strictPlan(a, sm));
    return {dim3(ceilDiv(a.m, 128), ceilDiv(a.w.n, 128)), 256, size_t(a.w.fmt >= FMT_Q8_0 ? 67584 : 3 * 32768)};
}

// gemm_f16_tiles, gemm_bf16_tiles, gemm_tf32_tiles on 9.0: tiles of 128 x bn, k in `splits` shares that are one cluster. Clocks:
// 4 bn for 128 bytes of k, and what tiles' ends and shares were measured to cost.
struct Tiles { int bn, splits; Launch launch; double cost; };
inline bool tilesReach(const LinearArgs& a, int bn) { return roundUp(a.w.n, bn) >= (a.gated ? roundUp(a.w.n, 128) : a.w.n); } // the end of a padded row
inline size_t tilesShared(int bn) { return size_t(bn == 256 ? 4 : bn == 128 ? 6 : 5) * (128 + bn) * 128 + 20480 + 128; }
inline Launch tilesLaunch(const LinearArgs& a, int sm, int bn, int splits) {
    const int tiles = ceilDiv(a.m, 128) * ceilDiv(a.w.n, bn);
    return {dim3(splits > 1 ? tiles : std::min(sm, tiles), 1, splits), 384, tilesShared(bn), splits};
}
inline Tiles gemmTiles(const LinearArgs& a, int sm) {
    const int steps = ceilDiv(a.w.k * (a.xFmt == FMT_F32 ? 4 : 2), 128);
    Tiles best = {};
    double least = 1e18;
    for (int bn : {256, 192, 160, 128}) {
        if (!tilesReach(a, bn)) continue;
        const int tiles = ceilDiv(a.m, 128) * ceilDiv(a.w.n, bn);
        for (int s = 1; s <= 2 && (s == 1 || (tiles <= clusterLimit[s] / 2 && steps >= 4 * s)); s++) {
            const int share = ceilDiv(steps, s);
            if (ceilDiv(steps, share) != s) continue; // none without work
            double cost = double(ceilDiv(tiles * s, sm)) * (share * 4 * bn + 3000 + 20 * bn) + (s > 1 ? 4000 : 0) + (a.m <= 256 ? 2000 : 0);
            if (cost < least) least = cost, best = {bn, s, tilesLaunch(a, sm, bn, s), cost};
        }
    }
    return best;
}
// gemm_*_short on 9.0: 64 outputs x nt tokens a block, k in `splits` shares that are one cluster.
inline Launch shortLaunch(const LinearArgs& a, int nt, int splits) {
    const int stages = nt == 128 ? 4 : nt == 64 ? 6 : 8;
    return {dim3(ceilDiv(a.m, nt), ceilDiv(a.gated ? roundUp(a.w.n, 128) : a.w.n, 64), splits), 160, size_t(stages) * ((64 + nt) * 128 + 16), splits};
}
// The cheaper of tiles and of these, by clocks: fitted to `speed calibrate`.
enum Kind { TILES, SHORT };
struct Plan { Kind kind; int width, splits; };
inline Plan gemmPlan(const LinearArgs& a, int sm) {
    const int steps = ceilDiv(a.w.k * (a.xFmt == FMT_F32 ? 4 : 2), 128), across = ceilDiv(a.gated ? roundUp(a.w.n, 128) : a.w.n, 64);
    const Tiles t = gemmTiles(a, sm);
    double least = t.cost;
    Plan best = {TILES, t.bn, t.splits};
    for (int nt : {128, 64, 32}) {
        for (int s = 1; s <= std::min(8, steps); s++) {
            const int share = ceilDiv(steps, s);
            if (ceilDiv(steps, share) != s) continue;
            const double full = double(ceilDiv(a.m, nt)) * across * s / (1.5 * sm);
            const double beside = s > 1 && a.m > 256 ? 6000 : 0; // tiles before leave no room to start in
            const double cost = beside + 2500 + std::max(1., full) * (share * (5.5 * nt + 330) + 27 * nt) + (s > 1 ? 700 + 400 * s + 24 * nt : 0) + (full > 1 ? 3250 : 0);
            if (cost < least) least = cost, best = {SHORT, nt, s};
        }
    }
    return best;
}
// Quantized matrices are expanded to f16 first.
inline Launch expandLaunch(const Weight& w) { return {dim3(ceilDiv(w.ld, 1024), ceilDiv(w.n, 16)), 256, 0}; }

// reach: positions, rounded up, as Shape.reach has it. attn_decode_cluster where a cluster has room for more than three
// quarters of the splits that have work, and the card for all clusters and some more.
inline Launch attnMeetLaunch(AttentionArgs& a, int splits) {
    const int ratio = a.heads / a.kvHeads, gq = ratio == 1 ? 1 : 2, D = a.headDim;
    a.splits = splits;
    return {dim3(a.b.nRows, a.kvHeads * ceilDiv(ratio, 2), splits), 256, 4 * size_t(gq * 8 * (D + 2) + gq * (D + 2 * splits) + splits), splits};
}
inline Launch attnDecodeLaunch(AttentionArgs& a, int sm, int reach = 4096) {
    const int ratio = a.heads / a.kvHeads, gq = ratio == 1 ? 1 : 2, y = a.kvHeads * ceilDiv(ratio, 2), rows = a.b.nRows, D = a.headDim;
    a.splits = std::max(1, std::min({64, 2 * sm / (y * rows), reach / 64}));
    const int share = D % 8 ? 64 : D <= 64 ? 256 : D <= 128 ? 128 : 64, busy = std::min(a.splits, ceilDiv(reach, share));
    for (int c = std::min(8, busy); c > 1 && 4 * c > 3 * busy; c--) {
        if (clusterLimit[c] * 7 / 8 >= y * rows) return attnMeetLaunch(a, c);
    }
    return {dim3(a.splits, y, rows), 256, size_t(gq) * 8 * (D + 2) * 4};
}
// layer_attention_*, layer_mlp_*, layer_sum on 9.0: two launches' blocks at once on a multiprocessor.
inline Launch layerAttentionLaunch(LayerAttentionArgs& a) {
    const int es = a.qkv.fmt == FMT_F32 ? 4 : 2, width = a.qkv.k, D = a.headDim;
    const int row = D * (a.kvFmt ? 2 : 4);
    a.chunk = 32768 / es / row;
    return {dim3(a.heads, 1, 8), 256, size_t(3 * D / 8) * width * es + size_t(width / 8) * D * es + 2 * size_t(a.chunk) * row + 4 * size_t(width + 4 * D + 3 * D / 8 + 16 * (D + 2)), 8};
}
// As many clusters as there are multiprocessors for their blocks, a quarter fewer where a block takes more than half of one's memory.
inline Launch layerMlpLaunch(LayerMlpArgs& a, int sm, int clusters = 0) {
    const int es = a.up.fmt == FMT_F32 ? 4 : 2, width = a.up.k, f = a.down.k;
    for (bool large : {false, true}) {
        const int most = clusters ? clusters : std::min({32, clusterLimit[8] / (large ? 2 : 1), sm * (large ? 3 : 4) / 32});
        a.units = roundUp(ceilDiv(f, most), 8);
        const int rows = a.units / 8 * (a.gated ? 2 : 1), count = ceilDiv(f, a.units);
        const size_t shared = size_t(es) * (rows * width + width / 8 * a.units) + 4 * (width + a.units + rows);
        if (large || clusters || shared <= (227 / 2 - 6) * 1024) return {dim3(count, 1, 8), 256, shared, 8};
    }
    return {};
}
// The same of block formats, two heads a cluster. A block has one, two or four column tiles of the stream; of attention with heads of 128 at
// most six, as even as can be, and as many blocks as find a multiprocessor each. So have the clusters of the second launch, whose blocks
// take more than half of one from two column tiles on, and leave room for one of attention: none waits for another's.
inline int quantBytes(int fmt, int stages) { return stages * 8 * 2 * (fmt == FMT_Q8_0 ? 2176 : fmt == FMT_Q4_1 ? 1280 : 1152); } // pairs of tiles, of all warps
inline int quantColumns(int width) { return width > 2048 ? 4 : width > 1024 ? 2 : 1; } // column tiles of a block
inline Launch layerAttentionQuantLaunch(const LayerAttentionArgs& a) {
    const int H = 2, D = a.headDim, tiles = a.qkv.k / 128, clusters = a.heads / H, sharing = std::min(H, a.heads / a.kvHeads), rows = (H + 2 * (H / sharing)) * D;
    const bool wide = D == 128;
    int blocks = wide ? 8 : tiles / quantColumns(a.qkv.k);
    while (wide && blocks > 2 && clusters > clusterAlone[blocks]) blocks--;
    blocks = std::min(blocks, tiles);
    const int stages[2][3] = {{2, 3, 3}, {1, 3, 2}}, ring = quantBytes(a.qkv.fmt, stages[wide][a.qkv.fmt - FMT_Q8_0]);
    const int scratch = std::max({1024, ceilDiv(tiles, blocks) * rows, 8 * sharing * (D + 2)});
    return {dim3(clusters, 1, blocks), 256, ring + 4 * size_t(blocks * (rows + H * (D + 2)) + rows + H * (D + 2) + H * D + scratch), blocks};
}
inline Launch layerMlpQuantLaunch(LayerMlpArgs& a, int clusters = 0) {
    const int columns = quantColumns(a.up.k), blocks = a.up.k / 128 / columns;
    const bool wide = columns == 4;
    const int most = clusters ? clusters : columns >= 2 ? std::min(16, clusterLimit[8] / 2) : 16, sides = a.gated ? 2 : 1;
    a.units = roundUp(ceilDiv(a.down.k, most), wide ? 128 : clusters || columns == 2 ? 32 : 256);
    const int stages[2][3] = {{2, 6, 5}, {2, 4, 4}}, ring = quantBytes(a.up.fmt, stages[wide][a.up.fmt - FMT_Q8_0]), share = ceilDiv(a.units * sides / 16, blocks);
    const int tiles = ceilDiv((wide ? 0 : 96) + a.units, 128);
    const size_t shared = size_t(ring) + 4096 + 4 * size_t(blocks * columns * share * 16 + tiles * 128);
    return {dim3(ceilDiv(a.down.k, a.units), 1, blocks), 256, wide ? std::max(shared, size_t(110 * 1024)) : shared, blocks};
}
inline Launch layerSumLaunch(const LayerSumArgs& a) { return {dim3(ceilDiv(a.width, 128)), 256, 0}; }
// Head sizes are padded to one of these in shared memory.
inline int paddedHead(int dim) { return dim <= 64 ? 64 : dim <= 96 ? 96 : dim <= 128 ? 128 : 256; }
inline Launch attnPrefillLaunch(const AttentionArgs& a, bool strict) {
    const int dp = paddedHead(a.headDim);
    dim3 grid(ceilDiv(a.b.maxCount, 64), a.heads, a.b.nSeqs);
    if (strict) return {grid, 256, size_t(3 * 64 * (dp + 4) + 64 * 68) * 4};
    return {grid, 128, size_t(4 * 64 * (2 * dp + 16))};
}
// attn_strict64: heads of 64, all in float.
inline bool attnStrict64(const AttentionArgs& a) {
    return a.headDim == 64 && a.inFmt == FMT_F32 && (!a.causal || a.kvFmt == 0) && ((a.kvOffset | a.ldq | a.ldk | a.ldv) & 3) == 0;
}
inline Launch attnStrict64Launch(const AttentionArgs& a) { return {dim3(a.heads, ceilDiv(a.b.maxCount, 32), a.b.nSeqs), 128, 88 * 1024}; }
inline bool attnTiles(const AttentionArgs& a) { return a.headDim == 64 || a.headDim == 128; } // on 9.0
inline Launch attnTilesLaunch(const AttentionArgs& a) {
    return {dim3(a.heads, ceilDiv(a.b.maxCount, 128), a.b.nSeqs), 384, size_t(a.headDim / 64) * 5 * 16384 + 64};
}
// attn_short64, attn_short128 on 9.0, which also append: slices of at most 128 tokens.
inline bool attnShort(const AttentionArgs& a) {
    return attnTiles(a) && a.causal && (!a.rope.cs || (a.rope.rotaryDim & (a.rope.interleaved ? 7 : 15)) == 0) && (a.kvOffset & 7) == 0;
}
inline Launch attnShortLaunch(const AttentionArgs& a) {
    return {dim3(a.heads, ceilDiv(a.b.maxCount, 64), a.b.nSeqs), 384, size_t(a.headDim / 64) * (8192 + 4 * 16384) + 64};
}
// attn_few, and on 9.0 attn_tiles64_appends: nothing to prepare, they append, too.
inline bool attnPlain(const AttentionArgs& a) {
    return a.headDim == 64 && a.causal && a.inFmt == FMT_F16 && a.kvFmt == 1 && !a.rope.cs && !a.qNorm.kind && !a.kNorm.kind && (a.kvOffset & 7) == 0;
}
inline Launch attnFewLaunch(const AttentionArgs& a) { return {dim3(a.heads, ceilDiv(a.b.maxCount, 16), a.b.nSeqs), 256, 0}; }
inline Launch appendLaunch(const AttentionArgs& a) { return {dim3(a.b.nRows), 256, 0}; }
