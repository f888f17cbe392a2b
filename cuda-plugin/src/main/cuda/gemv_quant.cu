// y = epilogue(norm(x) W^T) for up to 8 rows of x and W in 8 or 4 bits, on the matrix units.
//
// At 4.5 TB/s an SM receives 35 4-bit weights a clock: more than its 128 lanes can unpack to float and multiply one by
// one. So a warp turns them into f16 fragments (exact: the quants are small integers) and lets mma.m16n8k16 multiply and
// add in f32. x keeps float's precision: it is scaled by a power of two and split into a high and a low f16, which sit in
// two of the mma's eight columns; so up to 4 rows of x cost what one does. Scales are applied per block of 32, in f32.
#include "gemv.cuh"
#include "quant.cuh"

template <int FMT> struct Tile { // what a lane loads of a tile
    static const int VECS = FMT == FMT_Q8_0 ? 4 : 2, SCALE_WORDS = FMT == FMT_Q4_1 ? 4 : 2;
    uint4 q[VECS];
    u32 s[2 * SCALE_WORDS]; // row g, row g + 8
};

template <int FMT> __device__ __forceinline__ void loadTile(Tile<FMT>& t, const Weight& w, long long tile, bool valid) {
    const int V = Tile<FMT>::VECS, lane = threadIdx.x & 31, g = lane >> 2;
    const uint4* q = static_cast<const uint4*>(w.data) + tile * (V * 32) + lane;
#pragma unroll
    for (int v = 0; v < V; v++) t.q[v] = valid ? loadStream(q + v * 32) : make_uint4(0, 0, 0, 0);
    if (FMT == FMT_Q4_1) {
        const uint4* s = static_cast<const uint4*>(w.scales) + tile * 16;
        uint4 p = valid ? __ldg(s + g) : make_uint4(0, 0, 0, 0), r = valid ? __ldg(s + g + 8) : make_uint4(0, 0, 0, 0);
        t.s[0] = p.x, t.s[1] = p.y, t.s[2] = p.z, t.s[3] = p.w;
        t.s[4] = r.x, t.s[5] = r.y, t.s[6] = r.z, t.s[7] = r.w;
    } else {
        const uint2* s = static_cast<const uint2*>(w.scales) + tile * 16;
        uint2 p = valid ? __ldg(s + g) : make_uint2(0, 0), r = valid ? __ldg(s + g + 8) : make_uint2(0, 0);
        t.s[0] = p.x, t.s[1] = p.y, t.s[2] = r.x, t.s[3] = r.y;
    }
}

// The input in shared memory: [MT][block of 32] of 16 words high, 16 words low (so a quad's high and low lie in different
// banks), then the sums of each block [MT][ld / 32].
struct Staged {
    u32* halves;
    float* sums;
};

// acc[0], acc[1] += rows 2g, 2g + 1 of the tile times x; lane t of a quad holds row t of x.
template <int FMT> __device__ __forceinline__ void multiply(const Tile<FMT>& tile, const Staged& x, int kt, int mt, int ld, float acc[2]) {
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int b = 0; b < 4; b++) {
        uint4 col = make_uint4(0, 0, 0, 0);
        if (g < 2 * mt) col = *reinterpret_cast<const uint4*>(x.halves + (g >> 1) * ld + (kt * 4 + b) * 32 + (g & 1) * 16 + t * 4);
        float c[4] = {};
        u32 a[4];
        if (FMT == FMT_Q8_0) {
            q8Fragment(tile.q[b].x, tile.q[b].y, a);
            mmaF16(c, a, col.x, col.y);
            q8Fragment(tile.q[b].z, tile.q[b].w, a);
            mmaF16(c, a, col.z, col.w);
        } else {
            const int MINUS = FMT == FMT_Q4_0 ? 8 : 0;
            uint4 q = tile.q[b >> 1];
            q4Fragment<MINUS>(b & 1 ? q.z : q.x, a);
            mmaF16(c, a, col.x, col.y);
            q4Fragment<MINUS>(b & 1 ? q.w : q.y, a);
            mmaF16(c, a, col.z, col.w);
        }
        if (FMT == FMT_Q4_1) {
            float2 lo = f16Pair(tile.s[b]), hi = f16Pair(tile.s[4 + b]);
            float sum = t < mt ? x.sums[t * (ld / 32) + kt * 4 + b] : 0;
            acc[0] += lo.x * (c[0] + c[1]) + lo.y * sum;
            acc[1] += hi.x * (c[2] + c[3]) + hi.y * sum;
        } else {
            float2 lo = f16Pair(tile.s[b >> 1]), hi = f16Pair(tile.s[2 + (b >> 1)]);
            acc[0] += (b & 1 ? lo.y : lo.x) * (c[0] + c[1]);
            acc[1] += (b & 1 ? hi.y : hi.x) * (c[2] + c[3]);
        }
    }
}

__device__ __forceinline__ u32 halfBits(__half lo, __half hi) {
    return u32(__half_as_ushort(lo)) | u32(__half_as_ushort(hi)) << 16;
}

// Row m of x: normalized, scaled so that its largest lies in [2^12, 2^13), split in two. Returns what undoes the scale.
// A thread puts its four columns down as floats, and turns them into halves once the largest is known: the 8 threads of a
// block of 32 share a warp, so only the maximum needs the whole block.
__device__ __forceinline__ float stageSplit(const LinearArgs& a, int row, int m, const Staged& x, bool sums, float* shared) {
    float* f = reinterpret_cast<float*>(x.halves + m * a.w.ld);
    float top = 0;
    stageRow(a, row, shared, [&](int c) -> float4& { return *reinterpret_cast<float4*>(f + c); });
    for (int c = threadIdx.x * 4; c < a.w.ld; c += GEMV_THREADS * 4) {
        float4 v = *reinterpret_cast<const float4*>(f + c);
        top = fmaxf(top, fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
    }
    top = warpMax(top);
    if ((threadIdx.x & 31) == 0) shared[16 + (threadIdx.x >> 5)] = top;
    __syncthreads();
#pragma unroll
    for (int w = 0; w < GEMV_WARPS; w++) top = fmaxf(top, shared[16 + w]);
    const int exponent = int(__float_as_uint(top) >> 23) - 127; // of a positive float
    const int e = top > 0 && exponent < 128 ? min(max(12 - exponent, -100), 100) : 0;
    const float scale = __uint_as_float(u32(e + 127) << 23);
    const int ld = a.w.ld;
    for (int base = 0; base < ld; base += GEMV_THREADS * 4) {
        const int c = base + threadIdx.x * 4;
        float4 v = c < ld ? *reinterpret_cast<const float4*>(f + c) : make_float4(0, 0, 0, 0);
        __syncwarp();
        float e4[4] = {v.x * scale, v.y * scale, v.z * scale, v.w * scale};
        __half hi[4], lo[4];
#pragma unroll
        for (int j = 0; j < 4; j++) hi[j] = __float2half_rn(e4[j]), lo[j] = __float2half_rn(e4[j] - __half2float(hi[j]));
        float sum = 0;
        if (sums) {
            sum = (v.x + v.y) + (v.z + v.w);
#pragma unroll
            for (int o = 4; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
        }
        if (c < ld) {
            // columns c .. c + 3 lie in step s of their block, as pairs of the lanes t and t + 1, word w of the step
            int block = c >> 5, s = (c >> 4) & 1, w = (c >> 3) & 1, t = (c & 7) >> 1;
            u32* to = x.halves + m * ld + block * 32 + s * 2 + w;
            to[t * 4] = halfBits(hi[0], hi[1]);
            to[t * 4 + 4] = halfBits(hi[2], hi[3]);
            to[16 + t * 4] = halfBits(lo[0], lo[1]);
            to[16 + t * 4 + 4] = halfBits(lo[2], lo[3]);
            if (sums && (c & 31) == 0) x.sums[m * (ld / 32) + block] = sum * scale;
        }
        __syncwarp();
    }
    return __uint_as_float(u32(127 - e) << 23);
}

template <int FMT> __device__ __forceinline__ void gemv(const LinearArgs& a) {
    extern __shared__ __align__(16) u32 staged[];
    __shared__ __align__(16) float shared[24];
    __shared__ float partial[2][GEMV_WARPS][16][4], undo[4];
    __shared__ u64 bests[GEMV_WARPS];
    Mark mark{a.mark};
    const int DEPTH = FMT == FMT_Q8_0 ? 2 : 4; // tiles a lane has in flight
    const int ld = a.w.ld, ks = a.kSlices, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    const int mt = min(4, int(dynamicShared() / (4 * ld + ld / 8)));
    const Staged x = {staged, reinterpret_cast<float*>(staged + mt * ld)};
    const int slice = warp & (ks - 1), perBlock = GEMV_WARPS / ks, total = gridDim.x * perBlock;
    const int rowTiles = (a.w.n + 15) / 16, colTiles = ld / TILE_COLS;
    const int turns = (colTiles + ks * DEPTH - 1) / (ks * DEPTH); // of the ring, for a row tile
    const int rounds = (rowTiles + total - 1) / total, own = blockIdx.x * perBlock + warp / ks;
    const int outputs = 16 * mt; // of a row tile; thread e of its warps makes output e, e + 32 ks, ...
    const int e0 = slice * 32 + lane;
#pragma unroll 1
    for (int m0 = 0; m0 < a.m; m0 += mt) {
        Tile<FMT> ring[DEPTH];
        auto fetch = [&](int d, int row, int turn) {
            int kt = (turn * DEPTH + d) * ks + slice;
            loadTile(ring[d], a.w, (long long)row * colTiles + kt, row < rowTiles && kt < colTiles);
        };
#pragma unroll
        for (int d = 0; d < DEPTH; d++) fetch(d, own, 0);
        Epilogue epilogue;
        epilogue.loadBias(a, own * 16 + (e0 & 15) - (a.gated ? e0 & 1 : 0));
        const u32 touched = touchNorm(a);
        dependencyWait();
        dependentsLaunch();
        if (e0 < outputs) epilogue.loadResidual(a, m0 + (e0 >> 4), own * 16 + (e0 & 15));
        if (touched == 0x7fabcdefu) staged[0] = 0; // never
#pragma unroll 1
        for (int m = 0; m < mt && m0 + m < a.m; m++) {
            if (m > 0) __syncthreads();
            float u = stageSplit(a, m0 + m, m, x, FMT == FMT_Q4_1, shared);
            if (threadIdx.x == 0) undo[m] = u;
        }
        __syncthreads();
        u64 best[2] = {}; // of the thread's first output a tile, and of its second (another row of x)
        int row = own;
#pragma unroll 1
        for (int round = 0; round < rounds; round++, row += total) {
            float acc[2] = {};
#pragma unroll 1
            for (int turn = 0; turn < turns; turn++) {
                const bool lastTurn = turn + 1 == turns;
#pragma unroll
                for (int d = 0; d < DEPTH; d++) { // the code of a tile exists DEPTH times, that of the epilogue once
                    int kt = (turn * DEPTH + d) * ks + slice;
                    if (kt < colTiles) multiply(ring[d], x, kt, mt, ld, acc);
                    fetch(d, lastTurn ? row + total : row, lastTurn ? 0 : turn + 1);
                }
            }
            float(*sums)[16][4] = partial[round & 1];
            if (t < mt) sums[warp][g * 2][t] = acc[0], sums[warp][g * 2 + 1][t] = acc[1];
            if (ks > 1) __syncthreads();
            else __syncwarp();
#pragma unroll 1
            for (int e = e0; e < outputs && row < rowTiles; e += ks * 32) {
                const int r = e & 15, m = e >> 4, n = row * 16 + r;
                if (m0 + m >= a.m || n >= a.w.n || (a.gated && (r & 1))) continue;
                if (round > 0 || e != e0) {
                    epilogue.loadBias(a, n);
                    epilogue.loadResidual(a, m0 + m, n);
                }
                float v = 0, up = 0;
                for (int s = 0; s < ks; s++) {
                    v += sums[warp - slice + s][r][m];
                    if (a.gated) up += sums[warp - slice + s][r + 1][m];
                }
                epilogue.finish(a, m0 + m, n, v * undo[m], up * undo[m], best[e != e0]);
            }
            if (ks == 1) __syncwarp();
        }
        if (a.best) {
#pragma unroll 1
            for (int m = 0; m < mt && m0 + m < a.m; m++) {
                u64 b = e0 >= outputs ? 0 : m == e0 >> 4 ? best[0] : m == (e0 >> 4) + 2 * ks ? best[1] : 0;
                publishBest(a, m0 + m, b, bests);
            }
        }
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_q8_0(const __grid_constant__ LinearArgs a) { gemv<FMT_Q8_0>(a); }
extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_q4_0(const __grid_constant__ LinearArgs a) { gemv<FMT_Q4_0>(a); }
extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_q4_1(const __grid_constant__ LinearArgs a) { gemv<FMT_Q4_1>(a); }
