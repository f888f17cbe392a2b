// y = epilogue(norm(x) W^T) for one row of x and W in 8 or 4 bits, on the matrix units' integers: the decode step's linear maps.
//
// The blocks of a cluster share the columns, so that each brings only its part of x into shared memory, and their sums meet in
// distributed shared memory at the end. A block's row tiles times its column tiles are one sequence, of which every warp takes an
// equal, contiguous part: no warp waits for another until all have multiplied.
//
// x needs three of the mma's eight columns. Two blocks of 32 columns share one accumulator, the first in columns 0 to 3, the
// second in 4 to 7 (and zeros where the other is), so that what comes after the mma is done once for both.
#include "cluster.cuh"
#include "gemv_quant.cuh"

#define MOST_BLOCKS 8 // of a cluster

__device__ __forceinline__ uint2 sharedPair(u32 at) {
    uint2 v;
    asm volatile("ld.shared.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(at));
    return v;
}
__device__ __forceinline__ float2 sharedFloats(u32 at) {
    const uint2 v = sharedPair(at);
    return make_float2(asFloat(v.x), asFloat(v.y));
}
// acc += rows 2g, 2g + 1 of the tile times x; `even`, `odd`: the lane's operand of blocks 0, 2 and of 1, 3, all in shared memory.
template <int FMT>
__device__ __forceinline__ void multiply(const Tile<FMT>& tile, u32 even, u32 odd, u32 scales, u32 sums, bool second, float acc[2]) {
    uint2 x[4];
#pragma unroll
    for (int b = 0; b < 4; b++) x[b] = sharedPair((b & 1 ? odd : even) + b * BLOCK_WORDS * 4);
    const float2 scale = sharedFloats(scales);
    float2 sum = make_float2(0, 0);
    if (FMT == FMT_Q4_1) {
        sum = sharedFloats(sums);
        if (threadIdx.x & 1) sum = make_float2(0, 0); // counted in the even lanes
    }
    products(tile, x, scale, sum, second, acc);
}

// The block's best of row m to a.best[m][block].
__device__ __forceinline__ void publishBest(const LinearArgs& a, int m, u64 best, u64* shared) {
#pragma unroll
    for (int o = 16; o; o >>= 1) best = max(best, __shfl_xor_sync(~0u, best, o));
    __syncthreads();
    if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = best;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < GEMV_WARPS; w++) best = max(best, shared[w]);
        a.best[(long long)m * gridDim.x * gridDim.z + blockIdx.x * gridDim.z + blockIdx.z] = best;
    }
}

template <int FMT> __device__ __forceinline__ void gemv(const LinearArgs& a) {
    extern __shared__ __align__(16) float sums[];
    __shared__ struct {
        float2 stats[GEMV_WARPS];
        float squares[MOST_BLOCKS]; // of every block of the cluster
        u64 arrived, bests[GEMV_WARPS];
        u32 zeros[4 * BLOCK_WORDS]; // the fourth digit, and the other block's columns
    } shared;
    const int DEPTH = FMT == FMT_Q8_0 ? 2 : 4; // tiles a lane has in flight
    Mark mark{a.mark};
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    const int blocks = gridDim.z, rank = blockIdx.z, shift = __ffs(blocks) - 1;
    // this block's tiles: rows row0 .. row0 + rows - 1, columns column0 .. column0 + columns - 1; this warp's: from .. to - 1
    const int colTiles = a.w.ld / TILE_COLS, rowTiles = (a.w.n + 15) / 16, more = rowTiles - a.kSlices * int(gridDim.x);
    const int row0 = int(blockIdx.x) * a.kSlices + min(int(blockIdx.x), more), rows = a.kSlices + (int(blockIdx.x) < more);
    const int column0 = colTiles * rank >> shift, columns = (colTiles * (rank + 1) >> shift) - column0;
    const int from = rows * columns * warp / GEMV_WARPS, to = rows * columns * (warp + 1) / GEMV_WARPS;
    int row = __fdividef(from + 0.5f, float(columns)), column = from - row * columns;

    TileStream<FMT> stream(a.w);
    asm("" : "+l"(stream.q), "+l"(stream.s)); // in registers, as addends of one multiply-add an address
    Tile<FMT> ring[DEPTH];
    u32 next = (row0 + row) * colTiles + column0 + column;
    int nextColumn = column, ahead = to - from, left = ahead;
    auto fetch = [&](int d) { // what is not there is not multiplied
        stream.load(ring[d], next, ahead > 0);
        ahead--, next++;
        if (++nextColumn == columns) nextColumn = 0, next += colTiles - columns;
    };
#pragma unroll
    for (int d = 0; d < DEPTH; d++) fetch(d);
    Quads gain;
#pragma unroll
    for (int j = 0; j < QUADS_AT_ONCE; j++) gain.v[j] = {1, 1, 1, 1};
    if (a.norm.kind != NORM_NONE) {
        gain.load(a.norm.w + column0 * TILE_COLS, threadIdx.x, GEMV_THREADS, min(a.w.k - column0 * TILE_COLS, columns * TILE_COLS), false);
    }
    // What this block finishes: of every `blocks` row tiles the one that has its rank. Thread e makes output e, e + 256, ...
    const int most = (rows + blocks - 1) >> shift, outputs = ((rows - rank + blocks - 1) >> shift) * 16, e0 = threadIdx.x;
    if (blocks > 1) {
        if (threadIdx.x == 0) expectBytes(&shared.arrived, blocks * 4 * (outputs + (a.norm.kind == NORM_RMS)));
        clusterArrive();
    }
    auto outputOf = [&](int e) { return (row0 + rank + (e >> 4) * blocks) * 16 + (e & 15); };
    Epilogue epilogue = {0, 0, 0};
    if (e0 < outputs) epilogue.loadBias(a, outputOf(e0) - (a.gated ? e0 & 1 : 0));
    // shared memory: sums of every block [block][row][16], of every warp that shares a row [row][warp & slots - 1][16], x
    const int slots = rows < 8 ? 8 : 2; // of 8 rows or more a row has at most two warps, and they are neighbours
    float *partial = sums + most * 16 * blocks, *digits = partial + rows * slots * 16, *scales = digits + columns * 4 * BLOCK_WORDS;
    const Staged x = {reinterpret_cast<u32*>(digits), scales, scales + columns * 4};
#pragma unroll 1
    for (int i = threadIdx.x; i < rows * slots * 4; i += GEMV_THREADS) reinterpret_cast<float4*>(partial)[i] = make_float4(0, 0, 0, 0);
    if (threadIdx.x < 4 * BLOCK_WORDS) shared.zeros[threadIdx.x] = 0;
    dependencyWait();
    dependentsLaunch();
    if (e0 < outputs) epilogue.loadResidual(a, 0, outputOf(e0));
    stageDigits<FMT, true>(a, 0, 0, x, shared.stats, gain, column0 * TILE_COLS, columns * TILE_COLS);
    __syncthreads();

    auto at = [](const void* p) { return u32(__cvta_generic_to_shared(p)); };
    const bool digit = (g & 3) < 3; // the lane's column of the mma: byte g & 3
    const u32 lanePart = at(x.digits + (g & 3) * 8 + t * 2), zeros = at(shared.zeros), perTile = 16 * BLOCK_WORDS;
    const bool inEven = digit && g < 4, inOdd = digit && g >= 4, second = t >= 2;
    const u32 even0 = inEven ? lanePart : zeros, odd0 = inOdd ? lanePart : zeros, evenStep = inEven ? perTile : 0, oddStep = inOdd ? perTile : 0;
    const u32 scale0 = at(x.scales + (t >> 1) * 2), sum0 = at(x.sums + (t >> 1) * 2);
    const float weight = t & 1 ? 65536.f : 1.f; // of the lane's bytes
    float* slot = partial + (row * slots + (warp & (slots - 1))) * 16 + g * 2 + t;
    float acc[2] = {0, 0};
#pragma unroll 1
    while (left > 0) {
#pragma unroll
        for (int d = 0; d < DEPTH; d++) { // the code of a tile exists DEPTH times
            multiply(ring[d], even0 + column * evenStep, odd0 + column * oddStep, scale0 + column * 16, sum0 + column * 16, second, acc);
            fetch(d);
            left--;
            if (++column == columns || left == 0) { // the row, or this warp's part of it
                const float v = acc[0] * weight, w = acc[1] * weight;
                float mine = (t & 1 ? w : v) + __shfl_xor_sync(~0u, t & 1 ? v : w, 1); // row 2 g + (t & 1)
                mine += __shfl_xor_sync(~0u, mine, 2);
                if (t < 2) *slot = mine;
                slot += slots * 16, column = 0, acc[0] = acc[1] = 0;
                if (left == 0) break;
            }
        }
    }

    if (blocks > 1) clusterWait(); // all have started
    __syncthreads();
#pragma unroll 1
    for (int e = threadIdx.x; e < rows * 16; e += GEMV_THREADS) {
        float v = 0;
#pragma unroll 2
        for (int s = 0; s < slots; s++) v += partial[((e >> 4) * slots + s) * 16 + (e & 15)];
        float* here = sums + (rank * most + (e >> 4 >> shift)) * 16 + (e & 15);
        if (blocks > 1) send(here, &shared.arrived, (e >> 4) & (blocks - 1), v);
        else *here = v;
    }
    if (a.norm.kind == NORM_RMS && threadIdx.x < blocks) {
        float sq = 0;
#pragma unroll
        for (int w = 0; w < GEMV_WARPS; w++) sq += shared.stats[w].y;
        if (blocks > 1) send(shared.squares + rank, &shared.arrived, threadIdx.x, sq);
        else shared.squares[0] = sq;
    }
    if (blocks > 1) awaitBytes(&shared.arrived);
    else __syncthreads();
    float undo = 1; // what a sum still lacks
    if (a.norm.kind == NORM_RMS) {
        float sq = 0;
#pragma unroll
        for (int c = 0; c < MOST_BLOCKS; c++) if (c < blocks) sq += shared.squares[c];
        undo = rsqrtf(__fdividef(sq, float(a.w.k)) + a.norm.eps);
    }
    u64 best = 0;
#pragma unroll 1
    for (int e = e0; e < outputs; e += GEMV_THREADS) {
        const int n = outputOf(e);
        if (n >= a.w.n || (a.gated && (e & 1))) continue;
        if (e != e0) {
            epilogue.loadBias(a, n);
            epilogue.loadResidual(a, 0, n);
        }
        float v = 0, up = 0;
#pragma unroll
        for (int c = 0; c < MOST_BLOCKS; c++) {
            if (c < blocks) v += sums[c * most * 16 + e];
            if (c < blocks && a.gated) up += sums[c * most * 16 + e + 1];
        }
        epilogue.finish(a, 0, n, v * undo, up * undo, best);
    }
    if (a.best) publishBest(a, 0, best, shared.bests);
}

#define KERNEL(NAME, FMT) \
    extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) NAME(const __grid_constant__ LinearArgs a) { gemv<FMT>(a); }
KERNEL(gemv_q8_0, FMT_Q8_0)
KERNEL(gemv_q4_0, FMT_Q4_0)
KERNEL(gemv_q4_1, FMT_Q4_1)
