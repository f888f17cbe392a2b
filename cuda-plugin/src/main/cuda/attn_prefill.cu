// Flash attention on the matrix units (Dao, 2023), causal with a window or full, keys and values from the cache or the
// batch. Whatever the formats outside, the products are f16 x f16 with f32 sums: f16 has tf32's mantissa and more of it
// than bf16, and keys, queries and values are far from its range (they saturate).
//
// A block has 64 queries of one head, 16 a warp, held in registers, and walks tiles of 64 keys, the next tile's copies in
// flight. At head size 128: O 64 + S 32 + Q 32 registers; with a bound of 168 for three blocks an SM the loop spilled. Rows in shared memory are padded by 16
// bytes, which keeps ldmatrix free of bank conflicts at every head size.
#include "attention.cuh"
#include "mma.cuh"

#define TQ 64
#define TK 64

// Rows that 16-byte loads do not fit, or bf16: out of line, one by one.
__device__ __noinline__ uint4 loadOdd(const void* data, long long at, int fmt, int left) {
    u32 v[4] = {};
    for (int j = 0; j < 8 && j < left; j++) {
        v[j / 2] |= u32(__half_as_ushort(__float2half_rn(fminf(fmaxf(loadAs(data, at + j, fmt), -65504.f), 65504.f)))) << (j & 1) * 16;
    }
    return make_uint4(v[0], v[1], v[2], v[3]);
}

// 64 rows from p0 into [64][2 DP + 16 bytes] halves, zeros from `rows` and from dim on.
template <int DP> __device__ __forceinline__ void loadTile(u32 to, const Source& s, int p0, int length, int dim) {
    // a thread keeps its chunk of 8 columns and goes down the rows: 8, 12 (of 16), 16 or 32 chunks a row
    const int CHUNKS = DP == 96 ? 16 : DP / 8, LD = 2 * DP + 16, DOWN = 128 / CHUNKS, TURNS = TK / DOWN;
    const int r0 = threadIdx.x / CHUNKS, d = threadIdx.x % CHUNKS * 8;
    if (DP == 96 && d >= DP) return;
    const bool whole = ((dim | s.stride | s.base) & 7) == 0, inRow = d < dim;
    const long long first = s.base + (long long)(p0 + r0) * s.stride + d, down = s.stride * DOWN;
    const u32 place = to + r0 * LD + d * 2;
    auto store = [&](int i, uint4 v) {
        asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(place + i * DOWN * LD), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
    };
    auto valid = [&](int i) { return inRow && p0 + r0 + i * DOWN < length; };
    if (whole && s.fmt == FMT_F16) {
        const __half* from = static_cast<const __half*>(s.data) + first;
        const __half* safe = static_cast<const __half*>(s.data) + s.base;
#pragma unroll
        for (int i = 0; i < TURNS; i++) copyAsync(place + i * DOWN * LD, valid(i) ? from + i * down : safe, valid(i));
    } else if (whole && s.fmt == FMT_F32) {
#pragma unroll 4
        for (int i = 0; i < TURNS; i++) {
            const float4* q = reinterpret_cast<const float4*>(static_cast<const float*>(s.data) + first + i * down);
            float4 x = make_float4(0, 0, 0, 0), y = x;
            if (valid(i)) x = q[0], y = q[1];
            store(i, make_uint4(packHalf(x.x, x.y), packHalf(x.z, x.w), packHalf(y.x, y.y), packHalf(y.z, y.w)));
        }
    } else if (whole) { // bf16
#pragma unroll 4
        for (int i = 0; i < TURNS; i++) {
            uint4 v = make_uint4(0, 0, 0, 0);
            if (valid(i)) v = *reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(s.data) + first + i * down);
            float2 a = bf16Pair(v.x), b = bf16Pair(v.y), c = bf16Pair(v.z), e = bf16Pair(v.w);
            store(i, make_uint4(packHalf(a.x, a.y), packHalf(b.x, b.y), packHalf(c.x, c.y), packHalf(e.x, e.y)));
        }
    } else {
#pragma unroll 1
        for (int i = 0; i < TURNS; i++) {
            store(i, valid(i) ? loadOdd(s.data, first + i * down, s.fmt, dim - d) : make_uint4(0, 0, 0, 0));
        }
    }
}

template <int DP> __device__ __forceinline__ void prefill(const AttentionArgs& a, u32 shared) {
    const int LD = 2 * DP + 16, TILE = TK * LD, KS = DP / 16;
    const Seq seq = a.b.seqs[blockIdx.z];
    const int q0 = (gridDim.x - 1 - blockIdx.x) * TQ; // the longest rows first
    const int head = blockIdx.y, kvHead = head / (a.heads / a.kvHeads), dim = a.headDim;
    if (q0 >= seq.count || (a.causal && seq.kvFmt != a.kvFmt)) return;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
    const int rows = min(TQ, seq.count - q0), first = seq.base + q0;
    const int length = a.causal ? first + rows : seq.count, lo = a.window > 0 ? max(0, first - a.window + 1) : 0;
    const int fmt = a.causal ? (a.kvFmt ? FMT_F16 : FMT_F32) : a.inFmt;
    Source k, v;
    if (a.causal) {
        long long at = keyOffset(a, seq, kvHead);
        k = {seq.kv, at, dim, fmt}, v = {seq.kv, at + valueDistance(a, seq), dim, fmt};
    } else {
        k = {a.k, (long long)seq.start * a.ldk + kvHead * dim, a.ldk, fmt}, v = {a.v, (long long)seq.start * a.ldv + kvHead * dim, a.ldv, fmt};
    }
    u32 q[KS][4];
    const int r0 = warp * 16 + g, r1 = r0 + 8;
    const Source source = {a.q, (long long)(seq.start + q0) * a.ldq + head * dim, a.ldq, a.inFmt};
    loadTile<DP>(shared + 2 * TILE, source, 0, rows, dim); // in the second stage, until it is needed
    loadTile<DP>(shared, k, lo, length, dim);
    loadTile<DP>(shared + TILE, v, lo, length, dim);
    copyCommit();
    copyWait<0>();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < KS; i++) ldmatrix4(q[i], shared + 2 * TILE + (warp * 16 + (lane & 15)) * LD + i * 32 + (lane >> 4) * 16);
    __syncthreads();
    float o[DP / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    const float scale = a.scale * 1.4426950408889634f;
    int stage = 0;
    for (int p0 = lo; p0 < length; p0 += TK, stage ^= 1) {
        if (p0 + TK < length) {
            loadTile<DP>(shared + (stage ^ 1) * 2 * TILE, k, p0 + TK, length, dim);
            loadTile<DP>(shared + (stage ^ 1) * 2 * TILE + TILE, v, p0 + TK, length, dim);
        }
        copyCommit();
        copyWait<1>();
        __syncthreads();
        const u32 K = shared + stage * 2 * TILE, V = K + TILE;
        float s[TK / 8][4] = {};
#pragma unroll
        for (int i = 0; i < KS; i++) {
#pragma unroll
            for (int j = 0; j < TK / 16; j++) {
                u32 b[4];
                ldmatrix4(b, K + (j * 16 + (lane & 7) + ((lane >> 4) << 3)) * LD + i * 32 + ((lane >> 3) & 1) * 16);
                mma<FMT_F16>(s[2 * j], q[i], b[0], b[1]);
                mma<FMT_F16>(s[2 * j + 1], q[i], b[2], b[3]);
            }
        }
        // only tiles that cross the diagonal, the window or the end need their scores looked at one by one
        const bool mask = p0 + TK > length || (a.causal && p0 + TK - 1 > first + warp * 16) ||
                          (a.window > 0 && p0 <= first + warp * 16 + 15 - a.window);
        if (mask) {
#pragma unroll
            for (int j = 0; j < TK / 8; j++) {
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    int p = p0 + j * 8 + 2 * t + (c & 1), at = first + (c >> 1 ? r1 : r0);
                    if (p >= length || (a.causal && p > at) || (a.window > 0 && p <= at - a.window)) s[j][c] = -INFINITY;
                }
            }
        }
        float best[2] = {top[0], top[1]}; // of the scores before the scale, which is positive
#pragma unroll
        for (int j = 0; j < TK / 8; j++) {
#pragma unroll
            for (int c = 0; c < 4; c++) best[c >> 1] = fmaxf(best[c >> 1], s[j][c]);
        }
        float keep[2], safe[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            best[h] = fmaxf(best[h], __shfl_xor_sync(~0u, best[h], 1));
            best[h] = fmaxf(best[h], __shfl_xor_sync(~0u, best[h], 2));
            safe[h] = best[h] == -INFINITY ? 0.f : best[h] * scale;
            keep[h] = exp2Fast(fmaf(top[h], scale, -safe[h]));
            top[h] = best[h];
            sum[h] *= keep[h];
        }
#pragma unroll
        for (int j = 0; j < TK / 8; j++) {
#pragma unroll
            for (int c = 0; c < 4; c++) {
                s[j][c] = exp2Fast(fmaf(s[j][c], scale, -safe[c >> 1]));
                sum[c >> 1] += s[j][c];
            }
        }
#pragma unroll
        for (int d = 0; d < DP / 8; d++) o[d][0] *= keep[0], o[d][1] *= keep[0], o[d][2] *= keep[1], o[d][3] *= keep[1];
#pragma unroll
        for (int j = 0; j < TK / 16; j++) {
            u32 p[4];
            auto half2Bits = [](float x, float y) {
                __half2 h = __floats2half2_rn(x, y);
                return *reinterpret_cast<u32*>(&h);
            };
            p[0] = half2Bits(s[2 * j][0], s[2 * j][1]), p[1] = half2Bits(s[2 * j][2], s[2 * j][3]);
            p[2] = half2Bits(s[2 * j + 1][0], s[2 * j + 1][1]), p[3] = half2Bits(s[2 * j + 1][2], s[2 * j + 1][3]);
#pragma unroll
            for (int d = 0; d < DP / 16; d++) {
                u32 b[4];
                ldmatrix4t(b, V + (j * 16 + (lane & 15)) * LD + d * 32 + (lane >> 4) * 16);
                mma<FMT_F16>(o[2 * d], p, b[0], b[1]);
                mma<FMT_F16>(o[2 * d + 1], p, b[2], b[3]);
            }
        }
        __syncthreads(); // before the next copies overwrite this stage
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        sum[h] += __shfl_xor_sync(~0u, sum[h], 1);
        sum[h] += __shfl_xor_sync(~0u, sum[h], 2);
        int r = h ? r1 : r0;
        if (r >= rows) continue;
        float inverse = 1.f / sum[h];
        long long at = (long long)(seq.start + q0 + r) * a.ldo + head * dim;
#pragma unroll
        for (int d = 0; d < DP / 8; d++) {
            int c = d * 8 + 2 * t;
            float x = o[d][2 * h] * inverse, y = o[d][2 * h + 1] * inverse;
            if (c + 1 < dim && (dim & 1) == 0) storePair(a.out, at + c, a.outFmt, x, y);
            else {
                if (c < dim) storeAs(a.out, at + c, a.outFmt, x);
                if (c + 1 < dim) storeAs(a.out, at + c + 1, a.outFmt, y);
            }
        }
    }
    if (head == 0 && a.outFmt != FMT_F32) { // padding of a 16-bit activation is zero
        int width = a.heads * dim, pad = a.ldo - width;
        for (int i = threadIdx.x; i < rows * pad; i += 128) {
            storeAs(a.out, (long long)(seq.start + q0 + i / pad) * a.ldo + width + i % pad, a.outFmt, 0.f);
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 2) attn_prefill(const __grid_constant__ AttentionArgs a) {
    extern __shared__ __align__(128) unsigned char tiles[]; // two stages of keys and values
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    const u32 shared = sharedAddress(tiles);
    if (a.headDim <= 64) prefill<64>(a, shared);
    else if (a.headDim <= 96) prefill<96>(a, shared);
    else if (a.headDim <= 128) prefill<128>(a, shared);
    else prefill<256>(a, shared);
}
