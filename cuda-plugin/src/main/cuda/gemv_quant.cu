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
__device__ __forceinline__ float stageSplit(const LinearArgs& a, int row, int m, const Staged& x, bool sums, float* shared) {
    float* f = reinterpret_cast<float*>(x.halves + m * a.w.ld); // as float first, then split in place, block by block
    float top = 0;
    stageRow(a, row, shared, [&](int c, float p, float q, float r, float s) {
        *reinterpret_cast<float4*>(f + c) = make_float4(p, q, r, s);
        top = fmaxf(top, fmaxf(fmaxf(fabsf(p), fabsf(q)), fmaxf(fabsf(r), fabsf(s))));
    });
    top = blockMax(top, shared); // and the floats of the row are in shared memory
    int e = top > 0 && top < INFINITY ? 12 - ilogbf(top) : 0;
    e = min(max(e, -100), 100);
    float scale = ldexpf(1.f, e);
    const int ld = a.w.ld;
    for (int base = 0; base < ld; base += GEMV_THREADS * 16) {
        float4 v[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int c = base + (threadIdx.x + i * GEMV_THREADS) * 4;
            v[i] = c < ld ? *reinterpret_cast<const float4*>(f + c) : make_float4(0, 0, 0, 0);
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int c = base + (threadIdx.x + i * GEMV_THREADS) * 4;
            float e4[4] = {v[i].x * scale, v[i].y * scale, v[i].z * scale, v[i].w * scale};
            __half hi[4], lo[4];
#pragma unroll
            for (int j = 0; j < 4; j++) hi[j] = __float2half_rn(e4[j]), lo[j] = __float2half_rn(e4[j] - __half2float(hi[j]));
            float sum = (v[i].x + v[i].y) + (v[i].z + v[i].w);
#pragma unroll
            for (int o = 4; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o); // 8 lanes hold a block of 32
            if (c >= ld) continue;
            // columns c..c+3 of step s = (c & 31) / 16, in pairs 2t: the lane t that takes them, word w of its step
            int block = c >> 5, s = (c >> 4) & 1, w = (c >> 3) & 1, t = (c & 7) >> 1;
            u32* to = x.halves + m * ld + block * 32 + s * 2 + w;
            to[t * 4] = halfBits(hi[0], hi[1]);
            to[t * 4 + 4] = halfBits(hi[2], hi[3]);
            to[16 + t * 4] = halfBits(lo[0], lo[1]);
            to[16 + t * 4 + 4] = halfBits(lo[2], lo[3]);
            if (sums && (c & 31) == 0) x.sums[m * (ld / 32) + block] = sum * scale;
        }
        __syncthreads();
    }
    return ldexpf(1.f, -e);
}

template <int FMT> __device__ __forceinline__ void gemv(const LinearArgs& a) {
    extern __shared__ __align__(16) u32 staged[];
    __shared__ float shared[16], partial[2][GEMV_WARPS][16][4];
    __shared__ u64 bests[GEMV_WARPS];
    const int DEPTH = FMT == FMT_Q8_0 ? 2 : 4; // tiles a lane has in flight
    const int ld = a.w.ld, ks = a.kSlices, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    const int mt = min(4, int(dynamicShared() / (4 * ld + ld / 8)));
    const Staged x = {staged, reinterpret_cast<float*>(staged + mt * ld)};
    const int slice = warp & (ks - 1), perBlock = GEMV_WARPS / ks, total = gridDim.x * perBlock;
    const int rowTiles = (a.w.n + 15) / 16, colTiles = ld / TILE_COLS, steps = (colTiles + ks - 1) / ks;
    const int rounds = (rowTiles + total - 1) / total, own = blockIdx.x * perBlock + warp / ks;
    Mark mark{a.mark};
    dependentsLaunch();
    for (int m0 = 0; m0 < a.m; m0 += mt) {
        Tile<FMT> ring[DEPTH];
        int loadStep = 0, loadRow = own;
        auto fetch = [&](Tile<FMT>& into) {
            int kt = loadStep * ks + slice;
            loadTile(into, a.w, (long long)loadRow * colTiles + kt, loadRow < rowTiles && kt < colTiles);
            if (++loadStep == steps) loadStep = 0, loadRow += total;
        };
#pragma unroll
        for (int d = 0; d < DEPTH; d++) fetch(ring[d]);
        dependencyWait();
        __syncthreads();
        float undo[4] = {};
        for (int m = 0; m < mt && m0 + m < a.m; m++) undo[m] = stageSplit(a, m0 + m, m, x, FMT == FMT_Q4_1, shared);
        __syncthreads();
        u64 best[4] = {};
        float acc[2] = {};
        int step = 0, round = 0, row = own;
        for (int i = 0; i < rounds * steps; i += DEPTH) {
#pragma unroll
            for (int d = 0; d < DEPTH; d++) {
                if (i + d >= rounds * steps) break;
                int kt = step * ks + slice;
                if (kt < colTiles) multiply(ring[d], x, kt, mt, ld, acc);
                fetch(ring[d]);
                if (++step < steps) continue;
                step = 0;
                if (t < mt) partial[round & 1][warp][g * 2][t] = acc[0], partial[round & 1][warp][g * 2 + 1][t] = acc[1];
                acc[0] = acc[1] = 0;
                if (ks > 1) __syncthreads();
                else __syncwarp();
                // thread e of a row tile's warps: row e % 16 of the tile, row e / 16 of x
                int e = slice * 32 + lane, r = e & 15, m = e >> 4;
                if (row < rowTiles) {
                    for (; m < mt && m0 + m < a.m; m += ks * 2) {
                        float u = m == 0 ? undo[0] : m == 1 ? undo[1] : m == 2 ? undo[2] : undo[3];
                        auto whole = [&](int rr) {
                            float v = 0;
                            for (int s = 0; s < ks; s++) v += partial[round & 1][warp - slice + s][rr][m];
                            return v * u;
                        };
                        int n = row * 16 + r;
                        if (n >= a.w.n) continue;
                        if (a.gated) {
                            if ((r & 1) == 0) finishGated(a, m0 + m, n, whole(r), whole(r + 1));
                        } else {
                            u64 b = 0;
                            finish(a, m0 + m, n, whole(r), b);
                            if (m == 0) best[0] = max(best[0], b);
                            else if (m == 1) best[1] = max(best[1], b);
                            else if (m == 2) best[2] = max(best[2], b);
                            else best[3] = max(best[3], b);
                        }
                    }
                }
                if (ks == 1) __syncwarp();
                row += total;
                round++;
            }
        }
        if (a.best) {
#pragma unroll
            for (int m = 0; m < 4; m++) {
                if (m < mt && m0 + m < a.m) publishBest(a, m0 + m, best[m], bests);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_q8_0(const __grid_constant__ LinearArgs a) { gemv<FMT_Q8_0>(a); }
extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_q4_0(const __grid_constant__ LinearArgs a) { gemv<FMT_Q4_0>(a); }
extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_q4_1(const __grid_constant__ LinearArgs a) { gemv<FMT_Q4_1>(a); }
