// y = epilogue(norm(x) W^T) for one row of x and weights of plain floating point, on 9.0: the decode step's linear maps.
//
// The blocks of a cluster share the columns, so that each brings only its part of x into shared memory, and their sums meet in
// distributed shared memory at the end. A block's pairs of rows times its steps of columns (32 lanes x 16 bytes of both rows) are
// one sequence, of which every warp takes an equal, contiguous part: no warp waits for another until all have multiplied.
//
// launch grid(clusters, 1, their blocks: 1, 2, 4 or 8), block(256); kSlices: pairs of a cluster, of which the first have one more.
#include "cluster.cuh"
#include "gemv.cuh"
#include "plain.cuh"

#define DEPTH 6 // steps a lane has in flight, 32 bytes each
#define FEW 4 // of them: what a warp has at most where matrices are small
#define QUADS 2 // of x, that a thread holds
#define QUAD_STEP (GEMV_THREADS * 4)
#define MOST_BLOCKS 8 // of a cluster

// 16 bytes of two rows, if `n` is positive, without a branch.
__device__ __forceinline__ void loadPairIf(uint4 (&v)[2], const char* p, const char* q, int n) {
    asm volatile("{ .reg .pred p; setp.gt.s32 p, %10, 0;"
                 "@p ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%8]; @p ld.global.nc.L1::no_allocate.v4.u32 {%4,%5,%6,%7}, [%9]; }"
                 : "+r"(v[0].x), "+r"(v[0].y), "+r"(v[0].z), "+r"(v[0].w), "+r"(v[1].x), "+r"(v[1].y), "+r"(v[1].z), "+r"(v[1].w)
                 : "l"(p), "l"(q), "r"(n));
}

// Part of a vector: four columns from c on, from c + QUAD_STEP on, ...; zeros from k on.
struct Quads {
    float4 v[QUADS];
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int j = 0; j < QUADS; j++) v[j] = make_float4(0, 0, 0, 0);
    }
    __device__ __forceinline__ void load(const float* p, int c, int k) {
        clear();
        if (k & 3) {
#pragma unroll
            for (int j = 0; j < QUADS; j++) v[j] = four(p, c + j * QUAD_STEP, k);
        } else {
#pragma unroll
            for (int j = 0; j < QUADS; j++) if (c + j * QUAD_STEP < k) v[j] = __ldg(reinterpret_cast<const float4*>(p + c + j * QUAD_STEP));
        }
    }
    __device__ __forceinline__ void loadX(const float* p, int c, int k) { // past L1; rows of x are padded to 64
        clear();
#pragma unroll
        for (int j = 0; j < QUADS; j++) if (c + j * QUAD_STEP < k) v[j] = __ldcg(reinterpret_cast<const float4*>(p + c + j * QUAD_STEP));
        if ((k & 3) == 0) return;
#pragma unroll
        for (int j = 0; j < QUADS; j++) {
            const int left = k - (c + j * QUAD_STEP);
            if (left < 2) v[j].y = 0;
            if (left < 3) v[j].z = 0;
            if (left < 4) v[j].w = 0;
        }
    }
};

// Mean and 1 / deviation of a row of x of k columns; `q`: the thread's first. Mean and squares are taken per warp and then combined
// (Chan et al., 1983), so nothing cancels. stats: mean, squares and columns of each warp.
__device__ __forceinline__ float2 rowStats(const float* x, Quads q, int k, float eps, float4* stats) {
    const int warp = threadIdx.x >> 5;
    const float n = 128 * (k / QUAD_STEP) + max(0, min(128, k % QUAD_STEP - warp * 128));
    float sum = 0, sq = 0;
#pragma unroll 1
    for (int c = threadIdx.x * 4;;) {
#pragma unroll
        for (int j = 0; j < QUADS; j++) sum += (q.v[j].x + q.v[j].y) + (q.v[j].z + q.v[j].w);
        c += QUADS * QUAD_STEP;
        if (c >= k) break;
        q.loadX(x, c, k);
    }
    const float mean = n > 0 ? __fdividef(warpSum(sum), n) : 0;
#pragma unroll 1
    for (int c = threadIdx.x * 4; c < k; c += QUADS * QUAD_STEP) {
        if (k > QUADS * QUAD_STEP) q.loadX(x, c, k);
#pragma unroll
        for (int j = 0; j < QUADS; j++) {
            const int left = k - (c + j * QUAD_STEP);
            const float p = left > 0 ? q.v[j].x - mean : 0, r = left > 1 ? q.v[j].y - mean : 0;
            const float s = left > 2 ? q.v[j].z - mean : 0, t = left > 3 ? q.v[j].w - mean : 0;
            sq += (p * p + r * r) + (s * s + t * t);
        }
    }
    sq = warpSum(sq);
    if ((threadIdx.x & 31) == 0) stats[warp] = make_float4(mean, sq, n, 0);
    __syncthreads();
    float total = 0, squares = 0;
#pragma unroll
    for (int w = 0; w < GEMV_WARPS; w++) total += stats[w].x * stats[w].z;
    const float inverse = __fdividef(1.f, float(k));
    total *= inverse;
#pragma unroll
    for (int w = 0; w < GEMV_WARPS; w++) {
        const float d = stats[w].x - total;
        squares += stats[w].y + stats[w].z * d * d;
    }
    return make_float2(total, rsqrtf(squares * inverse + eps));
}

// The block's best to a.best[block].
__device__ __forceinline__ void publishBest(const LinearArgs& a, u64 best, u64* shared) {
#pragma unroll
    for (int o = 16; o; o >>= 1) best = max(best, __shfl_xor_sync(~0u, best, o));
    if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = best;
    __syncthreads();
    if (threadIdx.x == 0) {
#pragma unroll 1
        for (int w = 1; w < GEMV_WARPS; w++) best = max(best, shared[w]);
        a.best[blockIdx.x * gridDim.z + blockIdx.z] = best;
    }
}

template <int FMT> __device__ __forceinline__ void gemvOne(const LinearArgs& a) {
    extern __shared__ __align__(16) float sums[];
    __shared__ struct {
        float4 stats[GEMV_WARPS];
        float squares[GEMV_WARPS + MOST_BLOCKS]; // of every warp; of every block of the cluster
        u64 arrived, bests[GEMV_WARPS];
    } shared;
    const int VN = Vec<FMT>::N, PLANES = Vec<FMT>::PLANES, STEP = 32 * VN; // columns of a step
    Mark mark{a.mark};
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int blocks = gridDim.z, rank = blockIdx.z, shift = 31 - __clz(blocks);
    // this block's pairs of rows: pair0 .. pair0 + pairs - 1, steps: column0 .. column0 + columns - 1; this warp's of both: from .. to - 1
    const u32 vecs = u32(a.w.ld) / VN, steps = (vecs + 31) / 32;
    const int more = int(u32(a.w.n + 1) >> 1) - a.kSlices * int(gridDim.x);
    const int pair0 = int(blockIdx.x) * a.kSlices + min(int(blockIdx.x), more);
    const u32 pairs = a.kSlices + (int(blockIdx.x) < more);
    const u32 column0 = steps * rank >> shift, columns = (steps * (rank + 1) >> shift) - column0;
    const u32 work = pairs * columns, from = work * warp / GEMV_WARPS, to = work * (warp + 1) / GEMV_WARPS;
    const int pair = __fdividef(from + 0.5f, float(columns)), column = from - pair * columns;

    // Where the lane's next 16 bytes lie, counted in 16 bytes: `at` from the block's first row to the pair's, `vec` from there on.
    // Lanes past a row's end read its last 16 bytes again, and meet zeros of x.
    const char* row0 = static_cast<const char*>(a.w.data) + (long long)(2 * pair0) * vecs * 16;
    const char* row1 = row0 + vecs * 16ull;
    u32 vec = (column0 + column) * 32 + lane, at = pair * 2 * vecs;
    const u32 part = columns * 32, end = column0 * 32 + part;
    int left = to - from;
    uint4 ring[DEPTH][2];
    auto fetch = [&](uint4 (&v)[2], int n) { // what is not there is not multiplied
        const u32 i = at + min(vec, vecs - 1);
        loadPairIf(v, row0 + i * 16ull, row1 + i * 16ull, n);
        vec += 32;
        if (vec >= end) vec -= part, at += 2 * vecs;
    };
#pragma unroll
    for (int d = 0; d < DEPTH; d++) ring[d][0] = ring[d][1] = make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int d = 0; d < DEPTH; d++) {
        if (d == FEW && left <= FEW) break;
        fetch(ring[d], left - d);
    }
    const int first = column0 * STEP, width = columns * STEP, k = a.w.k - first, c0 = threadIdx.x * 4;
    Quads gain, bias;
    bias.clear();
    if (a.norm.b) bias.load(a.norm.b + first, c0, k);
    if (a.norm.kind != NORM_NONE) gain.load(a.norm.w + first, c0, k);
    // What this block finishes: of every `blocks` pairs the one that has its rank. Thread e makes output e, e + 256, ...
    const int most = (pairs + blocks - 1) >> shift, outputs = ((pairs - rank + blocks - 1) >> shift) * 2, e0 = threadIdx.x;
    if (blocks > 1) {
        if (threadIdx.x == 0) expectBytes(&shared.arrived, blocks * 4 * (outputs + (a.norm.kind == NORM_RMS)));
        clusterArrive();
    }
    auto outputOf = [&](int e) { return (pair0 + rank + (e >> 1) * blocks) * 2 + (e & 1); };
    Epilogue epilogue = {0, 0, 0};
    if (e0 < outputs) epilogue.loadBias(a, outputOf(e0) - (a.gated ? e0 & 1 : 0));
    // shared memory: sums of every block [block][pair][2], of every warp that shares a pair [pair][warp & slots - 1][2], x
    const int slots = pairs < GEMV_WARPS ? GEMV_WARPS : 2; // of 8 pairs or more a pair has at most two warps, and they are neighbours
    float* partial = sums + (((most * blocks << 1) + 3) & ~3);
    float4* xs = reinterpret_cast<float4*>(partial + pairs * slots * 2); // [step][half of a vector][lane]
#pragma unroll 1
    for (int i = threadIdx.x; i < pairs * slots / 2; i += GEMV_THREADS) reinterpret_cast<float4*>(partial)[i] = make_float4(0, 0, 0, 0);
    dependencyWait();
    dependentsLaunch();
    const float* x = static_cast<const float*>(a.x);
    Quads q;
    q.loadX(x + first, c0, k);
    if (e0 < outputs) epilogue.loadResidual(a, 0, outputOf(e0));
    float2 l = make_float2(0, 1);
    if (a.norm.kind == NORM_LAYER) {
        Quads whole = q;
        if (blocks > 1) whole.loadX(x, c0, a.w.k);
        l = rowStats(x, whole, a.w.k, a.norm.eps, shared.stats);
    }
    float sq = 0;
#pragma unroll 1
    for (int base = c0;;) {
#pragma unroll
        for (int j = 0; j < QUADS; j++) {
            const int c = base + j * QUAD_STEP, i = c >> 2;
            if (c >= width) break;
            float4 v = q.v[j];
            if (a.norm.kind != NORM_NONE) { // past the end: gain and bias are 0; the factor of a root mean square comes at the end
                const float4 g = gain.v[j], b = bias.v[j];
                sq += (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
                v = make_float4((v.x - l.x) * l.y * g.x + b.x, (v.y - l.x) * l.y * g.y + b.y, (v.z - l.x) * l.y * g.z + b.z, (v.w - l.x) * l.y * g.w + b.w);
            }
            xs[PLANES == 1 ? i : (i & ~63) + ((i & 1) << 5) + (i >> 1 & 31)] = v;
        }
        base += QUADS * QUAD_STEP;
        if (base >= width) break;
        q.loadX(x + first, base, k);
        if (a.norm.kind != NORM_NONE) gain.load(a.norm.w + first, base, k);
        if (a.norm.b) bias.load(a.norm.b + first, base, k);
    }
    if (a.norm.kind == NORM_RMS) {
        sq = warpSum(sq);
        if (lane == 0) shared.squares[warp] = sq;
    }
    __syncthreads();

    const float4 *operand = xs + lane + column * PLANES * 32, *operandEnd = xs + columns * PLANES * 32;
    float* slot = partial + (pair * slots + (warp & (slots - 1))) * 2 + (lane >> 4);
    float acc[2] = {0, 0};
#pragma unroll 1
    while (left > 0) {
#pragma unroll
        for (int d = 0; d < DEPTH; d++) { // the code of a step exists DEPTH times
            float f[2][VN];
            unpack<FMT>(ring[d][0], f[0]);
            unpack<FMT>(ring[d][1], f[1]);
#pragma unroll
            for (int p = 0; p < PLANES; p++) {
                const float4 v = operand[p * 32];
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    acc[r] += f[r][4 * p] * v.x;
                    acc[r] += f[r][4 * p + 1] * v.y;
                    acc[r] += f[r][4 * p + 2] * v.z;
                    acc[r] += f[r][4 * p + 3] * v.w;
                }
            }
            operand += PLANES * 32;
            fetch(ring[d], left - DEPTH);
            left--;
            if (operand >= operandEnd || left == 0) { // the pair, or this warp's part of it
                const bool upper = lane & 16;
                float mine = (upper ? acc[1] : acc[0]) + __shfl_xor_sync(~0u, upper ? acc[0] : acc[1], 16);
#pragma unroll
                for (int o = 8; o; o >>= 1) mine += __shfl_xor_sync(~0u, mine, o);
                if ((lane & 15) == 0) *slot = mine;
                slot += slots * 2, operand = xs + lane, acc[0] = acc[1] = 0;
                if (left == 0) break;
            }
        }
    }

    if (blocks > 1) clusterWait(); // all have started
    __syncthreads();
    // what a pair's sums are made of: one of each warp that had a part of it, or of each block
    const float *terms = partial, *squares = shared.squares;
    int count = slots, apart = 1, each = slots, ofSquares = GEMV_WARPS;
    if (blocks > 1) {
#pragma unroll 1
        for (int e = threadIdx.x; e < pairs * 2; e += GEMV_THREADS) {
            const int p = e >> 1;
            float v = 0;
#pragma unroll 2
            for (int s = 0; s < slots; s++) v += partial[(p * slots + s) * 2 + (e & 1)];
            send(sums + (rank * most + (p >> shift)) * 2 + (e & 1), &shared.arrived, p & (blocks - 1), v);
        }
        if (a.norm.kind == NORM_RMS && threadIdx.x < blocks) {
            float all = 0;
#pragma unroll
            for (int w = 0; w < GEMV_WARPS; w++) all += shared.squares[w];
            send(shared.squares + GEMV_WARPS + rank, &shared.arrived, threadIdx.x, all);
        }
        awaitBytes(&shared.arrived);
        terms = sums, count = blocks, apart = most, each = 1;
        squares += GEMV_WARPS, ofSquares = blocks;
    }
    float undo = 1; // what a sum still lacks
    if (a.norm.kind == NORM_RMS) {
        float all = 0;
#pragma unroll 2
        for (int c = 0; c < ofSquares; c++) all += squares[c];
        undo = rsqrtf(__fdividef(all, float(a.w.k)) + a.norm.eps);
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
        const float2* term = reinterpret_cast<const float2*>(terms) + (e >> 1) * each;
        float v = 0, up = 0;
#pragma unroll
        for (int c = 0; c < max(GEMV_WARPS, MOST_BLOCKS); c++, term += apart) {
            if (c >= count) continue;
            v += term->x, up += term->y;
        }
        if (e & 1) v = up;
        epilogue.finish(a, 0, n, v * undo, up * undo, best);
    }
    if (a.best) publishBest(a, best, shared.bests);
}

template <int FMT> __device__ __forceinline__ void onlyOn90(const LinearArgs& a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) // elsewhere it is never launched
    gemvOne<FMT>(a);
#endif
}

#define KERNEL(NAME, FMT) \
    extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) NAME(const __grid_constant__ LinearArgs a) { onlyOn90<FMT>(a); }
KERNEL(gemv_f32_one, FMT_F32)
KERNEL(gemv_f16_one, FMT_F16)
KERNEL(gemv_bf16_one, FMT_BF16)
