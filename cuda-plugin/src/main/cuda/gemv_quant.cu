// y = epilogue(norm(x) W^T) for up to 8 rows of x and W in 8 or 4 bits, on the matrix units' integers.
//
// At 4.5 TB/s an SM receives 35 4-bit weights a clock: more than its 128 lanes can turn into floats and multiply one by one.
// So the quants stay integers and meet x in mma.m16n8k32 (s8 x s8, s32 sums): 8 nibbles become two operands in three
// instructions. x keeps float's precision: in fixed point of 30 bits below its largest element, cut into four signed
// bytes, one a column of the mma; the sums are exact and come out as floats (1.5 * 2^23 + sum, by the bits of the
// accumulator), are put together, and scaled per block of 32, in f32. Two rows of x fill the mma's eight columns.
// Unpacking to f16 for mma.m16n8k16 took 236 instructions a tile (ncu) against about 110: 24 against 15 us for 22016 x 4096.
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

// Operand bytes of a step of 16 columns: row g in `even`, row g + 8 in `odd`. Q4: columns 2t, 2t+8, 2t+1, 2t+9, as 16 q (Q4_0,
// q signed) or q (Q4_1); Q8: columns 2t, 2t+1, 2t+8, 2t+9.
template <int FMT> __device__ __forceinline__ void operands(const Tile<FMT>& tile, int step, u32& even, u32& odd) {
    if (FMT == FMT_Q8_0) {
        uint4 v = tile.q[(step >> 1) % Tile<FMT>::VECS];
        u32 p = step & 1 ? v.z : v.x, q = step & 1 ? v.w : v.y;
        even = __byte_perm(p, q, 0x5410) ^ 0x80808080u;
        odd = __byte_perm(p, q, 0x7632) ^ 0x80808080u;
    } else {
        uint4 v = tile.q[(step >> 2) % Tile<FMT>::VECS];
        u32 w = (step & 3) == 0 ? v.x : (step & 3) == 1 ? v.y : (step & 3) == 2 ? v.z : v.w;
        if (FMT == FMT_Q4_0) {
            even = ((w << 4) & 0xf0f0f0f0u) ^ 0x80808080u;
            odd = (w & 0xf0f0f0f0u) ^ 0x80808080u;
        } else {
            even = w & 0x0f0f0f0fu;
            odd = (w >> 4) & 0x0f0f0f0fu;
        }
    }
}

// x in shared memory: [row][block of 32 columns][byte of the fixed point: 4][lane t: 4][step: 2] words, then the sums of each
// block [row][ld / 32] in fixed point (Q4_1).
struct Staged {
    u32* digits;
    float* sums;
};

// acc += rows 2g, 2g + 1 of the tile times x; lane t of a quad holds bytes 2 (t & 1), + 1 of row t / 2 of x (+ 2 in the second call).
template <int FMT> __device__ __forceinline__ void multiply(const Tile<FMT>& tile, const u32* digits, const float* sums, float acc[2]) {
    const float magic = 12582912.f; // 1.5 * 2^23: as an integer accumulator it counts in the last bit
    const int m = 0x4b400000;
#pragma unroll
    for (int b = 0; b < 4; b++) {
        const uint2 x = *reinterpret_cast<const uint2*>(digits + b * 32);
        u32 a0, a1, a2, a3;
        operands(tile, 2 * b, a0, a1);
        operands(tile, 2 * b + 1, a2, a3);
        int c0, c1, c2, c3;
        asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
                     : "=r"(c0), "=r"(c1), "=r"(c2), "=r"(c3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(x.x), "r"(x.y), "r"(m));
        float even = fmaf(__int_as_float(c1) - magic, 256.f, __int_as_float(c0) - magic);
        float odd = fmaf(__int_as_float(c3) - magic, 256.f, __int_as_float(c2) - magic);
        if (FMT == FMT_Q4_1) {
            float2 lo = f16Pair(tile.s[b]), hi = f16Pair(tile.s[(4 + b) % (2 * Tile<FMT>::SCALE_WORDS)]);
            const float sum = (threadIdx.x & 1) == 0 ? sums[b] : 0.f; // once, in the even lanes
            acc[0] += lo.x * even + lo.y * sum;
            acc[1] += hi.x * odd + hi.y * sum;
        } else {
            float2 lo = f16Pair(tile.s[b >> 1]), hi = f16Pair(tile.s[2 + (b >> 1)]);
            acc[0] += (b & 1 ? lo.y : lo.x) * even;
            acc[1] += (b & 1 ? hi.y : hi.x) * odd;
        }
    }
}

// Row m of x: normalized, brought to integers below 2^30, cut into bytes. Returns what undoes the scale. A thread puts its
// four columns down as floats, and cuts them once the largest is known: the 8 threads of a block of 32 share a warp, so only
// the maximum needs the whole block.
template <int FMT> __device__ __forceinline__ float stageDigits(const LinearArgs& a, int row, int m, const Staged& x, float* shared) {
    float* f = reinterpret_cast<float*>(x.digits + m * a.w.ld);
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
    const int exponent = int(__float_as_uint(top) >> 23) - 127; // of a positive float; x < 2^30 once scaled
    const int e = top > 0 && exponent < 128 ? min(max(29 - exponent, -100), 100) : 0;
    const float scale = __uint_as_float(u32(e + 127) << 23);
    const int ld = a.w.ld;
    for (int base = 0; base < ld; base += GEMV_THREADS * 4) {
        const int c = base + threadIdx.x * 4;
        float4 v = c < ld ? *reinterpret_cast<const float4*>(f + c) : make_float4(0, 0, 0, 0);
        __syncwarp();
        int q[4] = {__float2int_rn(v.x * scale), __float2int_rn(v.y * scale), __float2int_rn(v.z * scale), __float2int_rn(v.w * scale)};
        float sum = 0;
        if (FMT == FMT_Q4_1) {
            sum = (float(q[0]) + float(q[1])) + (float(q[2]) + float(q[3]));
#pragma unroll
            for (int o = 4; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
        }
        // Columns c .. c + 3 belong to lanes t and t + 1 of the mma, whose words also hold columns c + 8 ..: two threads
        // exchange their columns, and one makes the words of bytes 0 and 1, the other those of 2 and 3.
        const int block = c >> 5, step = (c >> 4) & 1, t = (c & 7) >> 1, upper = (c >> 3) & 1;
        int low[4], high[4]; // columns of the lower and the upper half of the step
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int other = __shfl_xor_sync(~0u, q[i], 2);
            low[i] = upper ? other : q[i];
            high[i] = upper ? q[i] : other;
            if (upper) low[i] = (((low[i] + 128) >> 8) + 128) >> 8, high[i] = (((high[i] + 128) >> 8) + 128) >> 8;
        }
        if (c < ld) {
            u32* to = x.digits + m * ld + block * 32 + upper * 16 + t * 2 + step;
#pragma unroll
            for (int d = 0; d < 2; d++) {
#pragma unroll
                for (int i = 0; i < 4; i += 2) { // byte order: operands()
                    u32 p = __byte_perm(low[i], low[i + 1], 0x0040), r = __byte_perm(high[i], high[i + 1], 0x0040);
                    to[d * 8 + i] = FMT == FMT_Q8_0 ? __byte_perm(p, r, 0x5410) : __byte_perm(p, r, 0x5140);
                }
#pragma unroll
                for (int i = 0; i < 4; i++) low[i] = (low[i] + 128) >> 8, high[i] = (high[i] + 128) >> 8;
            }
            if (FMT == FMT_Q4_1 && (c & 31) == 0) x.sums[m * (ld / 32) + block] = sum;
        }
        __syncwarp();
    }
    return __uint_as_float(u32(127 - e) << 23) * (FMT == FMT_Q4_0 ? 0.0625f : 1.f);
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
            float u = stageDigits<FMT>(a, m0 + m, m, x, shared);
            if (threadIdx.x == 0) undo[m] = u;
        }
        __syncthreads();
        // the lane's column of the mma: byte g & 3 of row g / 4 of x; rows that are not there repeat others and are not used
        const int r0 = min(g >> 2, mt - 1), r1 = min(2 + (g >> 2), mt - 1), lanePart = (g & 3) * 8 + t * 2;
        const u32 *column0 = x.digits + r0 * ld + lanePart, *column1 = x.digits + r1 * ld + lanePart;
        const float *sums0 = x.sums + min(t >> 1, mt - 1) * (ld / 32), *sums1 = x.sums + min(2 + (t >> 1), mt - 1) * (ld / 32);
        const float weight = t & 1 ? 65536.f : 1.f; // of the lane's bytes
        u64 best[2] = {}; // of the thread's first output a tile, and of its second (another row of x)
        int row = own;
#pragma unroll 1
        for (int round = 0; round < rounds; round++, row += total) {
            float acc[2] = {}, acc2[2] = {}; // rows 0, 1 and 2, 3 of x
#pragma unroll 1
            for (int turn = 0; turn < turns; turn++) {
                const bool lastTurn = turn + 1 == turns;
#pragma unroll
                for (int d = 0; d < DEPTH; d++) { // the code of a tile exists DEPTH times, that of the epilogue once
                    int kt = (turn * DEPTH + d) * ks + slice;
                    if (kt < colTiles) {
                        multiply(ring[d], column0 + kt * 128, sums0 + kt * 4, acc);
                        if (mt > 2) multiply(ring[d], column1 + kt * 128, sums1 + kt * 4, acc2);
                    }
                    fetch(d, lastTurn ? row + total : row, lastTurn ? 0 : turn + 1);
                }
            }
            float(*sums)[16][4] = partial[round & 1];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float p = acc[i] * weight, q = acc2[i] * weight;
                p += __shfl_xor_sync(~0u, p, 1);
                q += __shfl_xor_sync(~0u, q, 1);
                if ((t & 1) == 0) {
                    sums[warp][g * 2 + i][t >> 1] = p;
                    if (mt > 2) sums[warp][g * 2 + i][2 + (t >> 1)] = q;
                }
            }
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
