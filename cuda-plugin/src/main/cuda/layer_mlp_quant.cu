// norm, up (and gate), activation and down of one row in one launch, weights in 8 or 4 bits: a cluster takes some hidden units, its
// blocks their share of the stream's columns, then some of the units, then of the output's rows.
#include "layer_quant.cuh"

#define MOST_UNITS(TILES) (TILES > 2 ? 1280 : 1024) // and what a column tile begins with

enum { ROW, SUMS, HIDDEN, BARRIERS };

template <int FMT, int STAGES, int TILES> __device__ __forceinline__ void mlp(const LayerMlpArgs& a) {
    extern __shared__ __align__(128) char memory[];
    __shared__ struct {
        u64 barriers[BARRIERS];
        Arriving<TILES> arriving;
        Digits x[TILES], hidden[MOST_UNITS(TILES) / 128];
    } shared;
    const int rank = blockIdx.z, blocks = gridDim.z, width = a.up.k, t = threadIdx.x, warp = t >> 5, sides = a.gated ? 2 : 1;
    const int columns = width / blocks, colTiles = columns / TILE_COLS, from = blockIdx.x * a.units, units = min(a.units, a.down.k - from), rows = units * sides;
    // hidden units start somewhere in a column tile of down
    const int offset = from % TILE_COLS, unitTiles = (offset + units + TILE_COLS - 1) / TILE_COLS, firstRow = from * sides, firstTile = firstRow / 16;
    // Sums of so many rows meet in one block.
    const int share = (rows / 16 + blocks - 1) / blocks, own = min(share * 16, max(0, rows - rank * share * 16)), sources = width / TILE_COLS;
    const WarpTiles up(rows / 16, colTiles);
    auto at = [&](int i) { return (firstTile + up.from + i) * (a.up.ld / TILE_COLS) + rank * colTiles + up.column; };
    const int firstOut = (rank * LAYER_WARPS + warp) * colTiles; // row tile
    PairRing<FMT, STAGES, TILES, decltype(at)> ring(a.up, up.count, at, a.down, firstOut, colTiles, from / TILE_COLS, unitTiles, memory);
    float4* slots = reinterpret_cast<float4*>(memory + LAYER_WARPS * STAGES * ring.STAGE);
    float *sums = reinterpret_cast<float*>(slots + LAYER_THREADS), *hidden = sums + sources * share * 16;
    const u32 inverse = 65536 / share + 1; // for numbers of row tiles
    u64* const barriers = shared.barriers;
    if (t == 0) {
        startBarriers(barriers, BARRIERS);
        expect(barriers + ROW, sources * 8);
        expect(barriers + SUMS, own * sources * 4);
        expect(barriers + HIDDEN, units * 4);
    }
    clusterArrive();
    Incoming<FMT, TILES> incoming(a.in, a.norm, rank * colTiles, columns);
    const int pair = t >> 1, half = t & 1, firstOwn = firstRow + rank * share * 16; // of own rows
    float2 bias = make_float2(0, 0);
    if (a.bias && 2 * pair < own) bias = make_float2(__ldg(a.bias + firstOwn + 2 * pair), __ldg(a.bias + firstOwn + 2 * pair + 1));
    for (int i = t; i < unitTiles * 128; i += LAYER_THREADS) if (i < offset || i >= offset + units) hidden[i] = 0;
    clusterWait();
    dependencyWait();
    incoming.cutTo(shared.x, a.in, a.norm, width, blockIdx.x == 0, slots, shared.arriving, barriers + ROW);

    {
        const Operand<FMT> x(shared.x[up.column]);
        float* to = sums + (rank * colTiles + up.column) * share * 16;
        ring.multiplyFirst(x, 0, up.count, [&](int i, int r, float v) {
            const int tile = up.from + i, block = tile * inverse >> 16;
            send(to + (tile - block * share) * 16 + r, barriers + SUMS, block, v);
        });
    }
    dependentsLaunch(); // what the next launch asks for does not stand before these weights
    const float factor = incoming.factor(a.norm, width, shared.arriving, barriers + ROW);
    awaitBytes(barriers + SUMS);
#pragma unroll 1
    for (int p = pair; 2 * (p & ~15) < own; p += LAYER_THREADS / 2) { // two threads a pair of rows, in whole warps
        float2 v = make_float2(0, 0);
#pragma unroll
        for (int i = 0; i < Arriving<TILES>::MOST / 2; i++) {
            const int s = half + i * 2;
            if (s < sources) {
                const float2 one = *reinterpret_cast<const float2*>(sums + s * share * 16 + 2 * p);
                v.x += one.x, v.y += one.y;
            }
        }
        v.x += __shfl_xor_sync(~0u, v.x, 1), v.y += __shfl_xor_sync(~0u, v.y, 1);
        if (2 * p >= own) continue;
        if (p != pair && a.bias) bias = make_float2(__ldg(a.bias + firstOwn + 2 * p), __ldg(a.bias + firstOwn + 2 * p + 1));
        // gated: both have the unit; else each has one
        const bool second = !a.gated && half;
        const float one = activate((second ? v.y : v.x) * factor + (second ? bias.y : bias.x), a.act), gate = a.gated ? v.y * factor + bias.y : 1.f;
        float* to = hidden + offset + (a.gated ? rank * share * 8 + p : rank * share * 16 + 2 * p + second);
#pragma unroll 4
        for (int b = a.gated ? half : 0; b < blocks; b += a.gated ? 2 : 1) send(to, barriers + HIDDEN, b, one * gate);
    }
    awaitBytes(barriers + HIDDEN);
#pragma unroll
    for (int i = 0; i < MOST_UNITS(TILES) / 128; i += LAYER_WARPS) if (warp + i < unitTiles) cutFrom<FMT>(hidden + (warp + i) * 128, shared.hidden[warp + i]);
    __syncthreads();
    partEnds(a.mark, 0);
    ring.multiplySecond(shared.hidden, [&](int tile, int r, float v) { a.parts[blockIdx.x * width + (firstOut + tile) * 16 + r] = v; });
    partEnds(a.mark, 1);
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) // elsewhere they are never launched
#define BODY(FMT, STAGES, TILES) mlp<FMT, STAGES, TILES>(a)
#else
#define BODY(FMT, STAGES, TILES)
#endif
#define KERNEL(NAME, FMT, STAGES, TILES) \
    extern "C" __global__ void __launch_bounds__(LAYER_THREADS, 2) NAME(const __grid_constant__ LayerMlpArgs a) { BODY(FMT, STAGES, TILES); }
KERNEL(layer_mlp_q8_0, FMT_Q8_0, 2, 2)
KERNEL(layer_mlp_q4_0, FMT_Q4_0, 6, 2)
KERNEL(layer_mlp_q4_1, FMT_Q4_1, 5, 2)
KERNEL(layer_mlp_q8_0_wide, FMT_Q8_0, 2, 4)
KERNEL(layer_mlp_q4_0_wide, FMT_Q4_0, 4, 4)
KERNEL(layer_mlp_q4_1_wide, FMT_Q4_1, 4, 4)
