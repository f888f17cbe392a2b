// Flash attention on wgmma (Shah et al., 2024): a warpgroup's 64 queries of a head against tiles of 128 keys and values that
// other warps bring, with f16 products whatever the formats outside.
//
// While the products of one tile's weights and values run, the softmax of the next tile's scores is computed: S and O are
// both in registers (64 + 64 at head size 128, and 32 of weights). Queries, keys and values lie in panels of 64 elements,
// rows of 128 bytes with swizzled chunks: keys are read along their rows, values across them.
#pragma once
#include "attention.cuh"
#include "bulk.cuh"

#ifdef HAS_WGMMA
#define TK 128
#define PANEL (TK * 128)
#define STAGES 2 // tiles of keys, and of values, in flight

// A block's work: `rows` queries of a head from row `start` of the batch and position `first` on, and the keys they see.
struct Work {
    int head, kvHead, q0, rows, start, first, length, lo, tiles;
    __device__ __forceinline__ Work(const AttentionArgs& a, const Seq& seq, int head, int q0, int most)
        : head(head), kvHead(head / (a.heads / a.kvHeads)), q0(q0), rows(min(most, seq.count - q0)), start(seq.start + q0), first(seq.base + q0),
          length(a.causal ? first + rows : seq.count), lo(a.window > 0 ? max(0, first - a.window + 1) : 0), tiles((length - lo + TK - 1) / TK) {}
};

// Where tiles lie in shared memory, and their barriers: full keys, full values, empty keys, empty values.
template <int DIM> struct Stages {
    static const int TILE = DIM / 64 * PANEL; // bytes of 128 keys or values
    u32 keys, values, bars;
    __device__ __forceinline__ Stages(u32 at) : keys(at), values(at + STAGES * TILE), bars(at + 2 * STAGES * TILE) {}
    __device__ __forceinline__ void init(int consumers) const { // warps
        for (int i = 0; i < 2 * STAGES; i++) barrierInit(bars + i * 8, 128), barrierInit(bars + (2 * STAGES + i) * 8, consumers);
        barriersReady();
    }
    __device__ __forceinline__ u32 full(int values, int tile) const { return bars + (values * STAGES + tile % STAGES) * 8; }
    __device__ __forceinline__ void awaitEmpty(int values, int tile) const {
        barrierWait(bars + (2 * STAGES + values * STAGES + tile % STAGES) * 8, (tile / STAGES & 1) ^ 1);
    }
    __device__ __forceinline__ u32 place(int ofValues, int tile) const { return (ofValues ? values : keys) + tile % STAGES * TILE; }
};

// One warpgroup's 64 queries: scores, weights, sums.
template <int DIM> struct Softmax {
    float top[2], sum[2], keep[2], scale;
    int causal, window, length, r0; // r0: position of the thread's first row; the second is 8 further
    __device__ __forceinline__ Softmax(const AttentionArgs& a, int r0, int length)
        : top{-INFINITY, -INFINITY}, sum{}, keep{}, scale(a.scale * 1.4426950408889634f), causal(a.causal), window(a.window), length(length), r0(r0) {}

    // Scores of keys p0 .. p0 + TK - 1 become weights; `keep` is what earlier sums and outputs are worth now.
    __device__ __forceinline__ void weigh(float* s, int p0, int lowest, int highest) {
        const int t = threadIdx.x & 3;
        if (p0 + TK > length || (causal && p0 + TK - 1 > lowest) || (window > 0 && p0 <= highest - window)) {
#pragma unroll
            for (int j = 0; j < TK / 8; j++) {
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    const int p = p0 + j * 8 + 2 * t + (c & 1), at = r0 + (c >> 1) * 8;
                    if (p >= length || (causal && p > at) || (window > 0 && p <= at - window)) s[4 * j + c] = -INFINITY;
                }
            }
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float best = top[h]; // of the scores before the scale, which is positive
#pragma unroll
            for (int j = 0; j < TK / 8; j++) best = fmaxf(best, fmaxf(s[4 * j + 2 * h], s[4 * j + 2 * h + 1]));
            best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
            best = fmaxf(best, __shfl_xor_sync(~0u, best, 2));
            const float safe = best == -INFINITY ? 0.f : best * scale;
            keep[h] = exp2Fast(fmaf(top[h], scale, -safe));
            top[h] = best;
            float part = 0;
#pragma unroll
            for (int j = 0; j < TK / 8; j++) {
#pragma unroll
                for (int c = 2 * h; c < 2 * h + 2; c++) part += s[4 * j + c] = exp2Fast(fmaf(s[4 * j + c], scale, -safe));
            }
            sum[h] = sum[h] * keep[h] + part;
        }
    }
};

// What a warpgroup of consumers does; `mine` are its 64 rows of queries.
template <int DIM> __device__ __forceinline__ void attend(const AttentionArgs& a, const Work& w, const Stages<DIM>& m, u32 mine, int group) {
    const int lane = threadIdx.x & 31, warpRow = group * 64 + (threadIdx.x >> 5 & 3) * 16, lowest = w.first + warpRow, highest = lowest + 15;
    Softmax<DIM> soft(a, lowest + (lane >> 2), w.length);
    float s[64], o[DIM / 2];
    u32 p[32];
    auto scores = [&](int tile) { // s = q k^T
        barrierWait(m.bars + tile % STAGES * 8, tile / STAGES & 1);
        const u32 at = m.keys + tile % STAGES * m.TILE;
        wgmmaFence();
#pragma unroll
        for (int k = 0; k < DIM / 16; k++) {
            wgmma<FMT_F16, 128>(s, wgmmaSide(mine + (k >> 2) * 64 * 128 + (k & 3) * 32), wgmmaSide(at + (k >> 2) * PANEL + (k & 3) * 32), k > 0);
        }
        wgmmaCommit();
    };
    auto outputs = [&](int tile) { // o += p v
        barrierWait(m.bars + (STAGES + tile % STAGES) * 8, tile / STAGES & 1);
        const u32 at = m.values + tile % STAGES * m.TILE;
        wgmmaFence();
#pragma unroll
        for (int k = 0; k < TK / 16; k++) wgmmaAcross<DIM>(o, p + 4 * k, wgmmaSideAcross(at + k * 2048, PANEL));
        wgmmaCommit();
    };
    auto done = [&](int values, int tile) { if (lane == 0) barrierArrive(m.bars + (2 * STAGES + values * STAGES + tile % STAGES) * 8); };
    auto pack = [&] {
#pragma unroll
        for (int i = 0; i < 32; i++) {
            __half2 h = __floats2half2_rn(s[2 * i], s[2 * i + 1]);
            p[i] = *reinterpret_cast<u32*>(&h);
        }
    };
#pragma unroll
    for (int i = 0; i < DIM / 2; i++) o[i] = 0;
    scores(0);
    wgmmaWait<0>();
    wgmmaDone<64>(s);
    done(0, 0);
    soft.weigh(s, w.lo, lowest, highest);
    pack();
    for (int tile = 1; tile < w.tiles; tile++) {
        scores(tile);
        outputs(tile - 1);
        wgmmaWait<1>();
        wgmmaDone<64>(s);
        done(0, tile);
        soft.weigh(s, w.lo + tile * TK, lowest, highest);
        wgmmaWait<0>();
        wgmmaDone<DIM / 2>(o);
        done(1, tile - 1);
#pragma unroll
        for (int i = 0; i < DIM / 2; i++) o[i] *= soft.keep[i >> 1 & 1];
        pack();
    }
    outputs(w.tiles - 1);
    wgmmaWait<0>();
    wgmmaDone<DIM / 2>(o);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float sum = soft.sum[h];
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        const int r = warpRow + (lane >> 2) + 8 * h;
        if (r >= w.rows) continue;
        const float inverse = 1.f / sum;
        const long long at = (long long)(w.start + r) * a.ldo + w.head * DIM + 2 * (lane & 3);
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) storePair(a.out, at + d * 8, a.outFmt, o[4 * d + 2 * h] * inverse, o[4 * d + 2 * h + 1] * inverse);
    }
}
#endif
