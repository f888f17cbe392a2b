// y = epilogue(norm(x) W^T) for 2 to 8 rows of x and W in 8 or 4 bits: two rows of x fill the mma's eight columns.
#include "gemv_quant.cuh"

// acc += rows 2g, 2g + 1 of the tile times x; lane t of a quad holds bytes 0, 1 (t even) or 2 of row t / 2 of x (+ 2 in the
// second call).
template <int FMT>
__device__ __forceinline__ void multiply(const Tile<FMT>& tile, u32 digits, u32 scales, u32 sums, float acc[2]) { // in shared memory
    const float magic = 12582912.f; // 1.5 * 2^23: as an integer accumulator it counts in the last bit
    const int m = 0x4b400000;
    uint2 x[4];
    float scale[4], sum[4];
#pragma unroll
    for (int b = 0; b < 4; b++) asm volatile("ld.shared.v2.u32 {%0,%1}, [%2];" : "=r"(x[b].x), "=r"(x[b].y) : "r"(digits + b * BLOCK_WORDS * 4));
    asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(scale[0]), "=f"(scale[1]), "=f"(scale[2]), "=f"(scale[3]) : "r"(scales));
    if (FMT == FMT_Q4_1) asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(sum[0]), "=f"(sum[1]), "=f"(sum[2]), "=f"(sum[3]) : "r"(sums));
#pragma unroll
    for (int b = 0; b < 4; b++) {
        u32 a0, a1, a2, a3;
        operands(tile, 2 * b, a0, a1);
        operands(tile, 2 * b + 1, a2, a3);
        int c0, c1, c2, c3;
        asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
                     : "=r"(c0), "=r"(c1), "=r"(c2), "=r"(c3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(x[b].x), "r"(x[b].y), "r"(m));
        const float even = fmaf(__int_as_float(c1) - magic, 256.f, __int_as_float(c0) - magic) * scale[b];
        const float odd = fmaf(__int_as_float(c3) - magic, 256.f, __int_as_float(c2) - magic) * scale[b];
        if (FMT == FMT_Q4_1) {
            float2 lo = f16Pair(tile.s[b]), hi = f16Pair(tile.s[(4 + b) % (2 * Tile<FMT>::SCALE_WORDS)]);
            const float once = (threadIdx.x & 1) == 0 ? sum[b] : 0.f; // in the even lanes
            acc[0] += lo.x * even + lo.y * once;
            acc[1] += hi.x * odd + hi.y * once;
        } else {
            float2 lo = f16Pair(tile.s[b >> 1]), hi = f16Pair(tile.s[2 + (b >> 1)]);
            acc[0] += (b & 1 ? lo.y : lo.x) * even;
            acc[1] += (b & 1 ? hi.y : hi.x) * odd;
        }
    }
}

// MANY: there may be more than two rows of x at once; a block makes as many as its shared memory holds, from blockIdx.y times that
// on. (A loop over them would meet barriers of all warps after those of a team, in an order that racecheck cannot follow.) The warps
// that share rows (kSlices of them) meet at a barrier of their own.
template <int FMT, bool MANY> __device__ __forceinline__ void gemv(const LinearArgs& a) {
    extern __shared__ __align__(16) u32 staged[];
    const int XROWS = MANY ? 4 : 2;
    __shared__ struct {
        float partial[2][GEMV_WARPS][16][XROWS], undo[GEMV_WARPS][4];
        float2 stats[XROWS][GEMV_WARPS];
        u64 bests[XROWS][GEMV_WARPS];
        u32 zeros[4 * BLOCK_WORDS]; // the fourth digit
    } shared;
    const int DEPTH = FMT == FMT_Q8_0 ? 2 : 4; // tiles a lane has in flight
    Mark mark{a.mark};
    const int ld = a.w.ld, ks = a.kSlices, shift = __ffs(ks) - 1, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    const int slice = warp & (ks - 1), team = warp >> shift, perBlock = GEMV_WARPS >> shift, total = gridDim.x * perBlock;
    const int rowTiles = (a.w.n + 15) / 16, colTiles = ld / TILE_COLS, own = blockIdx.x * perBlock + team;
    const TileStream<FMT> stream(a.w);
    Tile<FMT> ring[DEPTH];
    auto fetch = [&](int d, int row, int kt) { // what is not there is not multiplied
        if (row < rowTiles && kt < colTiles) stream.load(ring[d], row * colTiles + kt);
    };
#pragma unroll
    for (int d = 0; d < DEPTH; d++) fetch(d, own, d * ks + slice);
    Quads gain;
#pragma unroll
    for (int j = 0; j < QUADS_AT_ONCE; j++) gain.v[j] = {1, 1, 1, 1};
    if (a.norm.kind != NORM_NONE) gain.load(a.norm.w, threadIdx.x, GEMV_THREADS, a.w.k, false);
    const int e0 = slice * 32 + lane, rowBytes = Staged::rowBytes<FMT>(ld), rowWords = ld * 3 / 4;
    Epilogue epilogue;
    epilogue.loadBias(a, own * 16 + (e0 & 15) - (a.gated ? e0 & 1 : 0));
    const int mt = int(dynamicShared()) >= 4 * rowBytes ? 4 : int(dynamicShared()) >= 2 * rowBytes ? 2 : 1, m0 = blockIdx.y * mt;
    const int outputs = 16 * mt; // of a row tile; thread e of its warps makes output e, e + 32 ks, ...
    const Staged x = {staged, reinterpret_cast<float*>(staged) + mt * rowWords, reinterpret_cast<float*>(staged) + mt * (rowWords + ld / 32)};
    if (threadIdx.x < 4 * BLOCK_WORDS) shared.zeros[threadIdx.x] = 0;
    dependencyWait();
    dependentsLaunch();
    if (e0 < outputs) epilogue.loadResidual(a, m0 + (e0 >> 4), own * 16 + (e0 & 15));
#pragma unroll 1
    for (int m = 0; m < mt && m0 + m < a.m; m++) stageDigits<FMT, false>(a, m0 + m, m, x, shared.stats[m], gain);
    __syncthreads();
    if (slice == 0 && lane < mt) { // what a sum still lacks: read after the next barrier
        float sq = 0;
#pragma unroll 4
        for (int w = 0; w < GEMV_WARPS; w++) sq += shared.stats[lane][w].y;
        shared.undo[team][lane] = a.norm.kind == NORM_RMS ? rsqrtf(__fdividef(sq, float(a.w.k)) + a.norm.eps) : 1.f;
    }
    // the lane's column of the mma: byte g & 3 of row g / 4 of x; rows that are not there repeat others and are not used
    const bool digit = (g & 3) < 3;
    const int stride = digit ? 16 * BLOCK_WORDS : 0, lanePart = (g & 3) * 8 + t * 2;
    auto at = [](const void* p) { return u32(__cvta_generic_to_shared(p)); };
    const u32 column0 = at(digit ? x.digits + min(g >> 2, mt - 1) * rowWords + lanePart : shared.zeros);
    const u32 column1 = at(digit ? x.digits + min(2 + (g >> 2), mt - 1) * rowWords + lanePart : shared.zeros);
    const u32 row0 = min(t >> 1, mt - 1) * (ld / 8), row1 = min(2 + (t >> 1), mt - 1) * (ld / 8), scales = at(x.scales), sums0 = at(x.sums);
    const float weight = t & 1 ? 65536.f : 1.f; // of the lane's bytes
    u64 best[2] = {}; // of the thread's first output a tile, and of its second (another row of x)
    bool odd = false;
#pragma unroll 1
    for (int row = own; row < rowTiles; row += total, odd = !odd) {
        float acc[2] = {}, acc2[2] = {}; // rows 0, 1 and 2, 3 of x
#pragma unroll 1
        for (int kt0 = slice; kt0 < colTiles;) {
            const int after = kt0 + DEPTH * ks, nextRow = after < colTiles ? row : row + total, next = after < colTiles ? after : slice;
#pragma unroll
            for (int d = 0; d < DEPTH; d++) { // the code of a tile exists DEPTH times, that of the epilogue once
                const int kt = kt0 + d * ks;
                if (kt < colTiles) {
                    multiply(ring[d], column0 + kt * stride, scales + row0 + kt * 16, sums0 + row0 + kt * 16, acc);
                    if (MANY) {
                        multiply(ring[d], column1 + kt * stride, scales + row1 + kt * 16, sums0 + row1 + kt * 16, acc2);
                    }
                }
                fetch(d, nextRow, next + d * ks);
            }
            kt0 = after;
        }
        float(*sums)[16][XROWS] = shared.partial[odd];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float p = acc[i] * weight, q = acc2[i] * weight;
            p += __shfl_xor_sync(~0u, p, 1);
            if (MANY) q += __shfl_xor_sync(~0u, q, 1);
            if ((t & 1) == 0) {
                sums[warp][g * 2 + i][t >> 1] = p;
                if (MANY) sums[warp][g * 2 + i][2 + (t >> 1)] = q;
            }
        }
        if (ks > 1) asm volatile("bar.sync %0, %1;" ::"r"(1 + team), "r"(ks * 32) : "memory");
        else __syncwarp();
#pragma unroll 1
        for (int e = e0; e < outputs; e += ks * 32) {
            const int r = e & 15, m = e >> 4, n = row * 16 + r;
            if (m0 + m >= a.m || n >= a.w.n || (a.gated && (r & 1))) continue;
            if (row != own || e != e0) {
                epilogue.loadBias(a, n);
                epilogue.loadResidual(a, m0 + m, n);
            }
            float v = 0, up = 0;
            for (int s = 0; s < ks; s++) {
                v += sums[warp - slice + s][r][m];
                if (a.gated) up += sums[warp - slice + s][r + 1][m];
            }
            epilogue.finish(a, m0 + m, n, v * shared.undo[team][m], up * shared.undo[team][m], best[e != e0]);
        }
        if (ks == 1) __syncwarp();
    }
    if (a.best) {
        publishBests(a, m0, min(mt, a.m - m0), shared.bests, [&](int m) {
            return e0 >= outputs ? 0 : m == e0 >> 4 ? best[0] : m == (e0 >> 4) + 2 * ks ? best[1] : 0;
        });
    }
}

// gemv_F_two: two rows of x; gemv_F_many: up to 8. Kernels of their own: as branches of one they spill registers.
#define KERNELS(NAME, FMT) \
    extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) NAME##_two(const __grid_constant__ LinearArgs a) { gemv<FMT, false>(a); } \
    extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) NAME##_many(const __grid_constant__ LinearArgs a) { gemv<FMT, true>(a); }
KERNELS(gemv_q8_0, FMT_Q8_0)
KERNELS(gemv_q4_0, FMT_Q4_0)
KERNELS(gemv_q4_1, FMT_Q4_1)
