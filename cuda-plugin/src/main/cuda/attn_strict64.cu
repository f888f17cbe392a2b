// Flash attention with float multiply-adds, heads of 64 and everything in float: the strict mode of most models. A block has 32
// queries of one head; its four warps take tiles of 32 keys in turn, each with keys, values, weights, sums and tops of its own, so
// that nobody waits for another before they add up at the end. Many small blocks, the longest first, even out the causal triangle.
//
// A lane has 4 queries x 8 keys of scores and the same 4 queries x 16 elements of outputs: 12 reads of 16 bytes for 128 multiply-adds
// of scores, 20 for 256 of outputs. Their order is that of gemm_f32.cu: a bank of registers gives one operand a clock, and sums
// and keys (values) of both parities take turns. 16-byte chunks of a row are turned, so that the rows read at once lie on different banks.
#include "attention.cuh"
#include "mma.cuh"

#define WARPS 4
#define TQ 32
#define TK 32
#define ROW 256                           // bytes of 64 floats
#define QUERIES (TQ * ROW)
#define OF_WARP (2 * TK * ROW + TQ * TK * 4) // keys, values, weights
#define OUT_LD 80                         // floats of a query's outputs when warps add up: neighbours lie on different banks

__device__ __forceinline__ void multiplyAdd(float& sum, const float4& x, const float4& w, int k, int kw) {
    const float a = k == 0 ? x.x : k == 1 ? x.y : k == 2 ? x.z : x.w, b = kw == 0 ? w.x : kw == 1 ? w.y : kw == 2 ? w.z : w.w;
    asm volatile("fma.rn.f32 %0, %1, %2, %0;" : "+f"(sum) : "f"(a), "f"(b));
}

struct Tiles {
    unsigned char* shared;
    int tx, ty, queries, keys, values, weights; // where this lane reads: bytes
    u32 fillKeys, fillValues;                   // where it copies to
    __device__ __forceinline__ Tiles(unsigned char* shared) : shared(shared) {
        const int lane = threadIdx.x & 31, mine = QUERIES + (threadIdx.x >> 5) * OF_WARP;
        ty = lane >> 1 & 7, tx = (lane >> 4) * 2 + (lane & 1); // neighbours share queries: one pass over the banks for 16 lanes
        queries = ty * ROW + (ty << 4), keys = mine + tx * 4 * ROW + (tx << 4), values = mine + TK * ROW + (tx << 4);
        weights = mine + 2 * TK * ROW + ty * (TK * 4) + (((ty & 3) << 1 | ty >> 2) << 4);
        fillKeys = sharedAddress(shared) + mine + (lane >> 4) * ROW, fillValues = fillKeys + TK * ROW + ((lane & 15) << 4);
    }
    __device__ __forceinline__ float4 read(int at) const { return *reinterpret_cast<const float4*>(shared + at); }

    // Rows p0 .. p0 + 31 of keys or values; zeros from `length` on.
    template <bool KEYS> __device__ __forceinline__ void fill(const float* from, long long stride, int p0, int length) const {
        const int lane = threadIdx.x & 31, r = lane >> 4, chunk = lane & 15;
        const float* at = from + (p0 + r) * stride + chunk * 4;
        auto to = [&](int i) { return (KEYS ? fillKeys + ((chunk ^ (i >> 1 & 3)) << 4) : fillValues) + i * 2 * ROW; };
        if (p0 + TK <= length) {
#pragma unroll
            for (int i = 0; i < TK / 2; i++) copyAsync(to(i), at, true), at += 2 * stride;
        } else {
#pragma unroll 1
            for (int i = 0; i < TK / 2; i++) {
                const bool valid = p0 + r + 2 * i < length;
                copyAsync(to(i), valid ? at : from, valid), at += 2 * stride;
            }
        }
    }

    // s = q k^T: queries ty + 8 i, keys 4 tx + (j & 3) + 16 (j >> 2)
    __device__ __forceinline__ void scores(float (&s)[4][8]) const {
        auto readK = [&](int turn, int j) { return read((keys ^ turn) + (j & 3) * ROW + (j >> 2) * 16 * ROW); };
        auto readQ = [&](int turn, int i) { return read((queries ^ turn) + i * 8 * ROW); };
        float4 k[2][8], x[4];
#pragma unroll
        for (int j = 0; j < 8; j++) k[0][j] = readK(0, j);
        x[0] = readQ(0, 0), x[1] = readQ(0, 1);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 8; j++) s[i][j] = 0;
#pragma unroll 1
        for (int d = 0; d < 16; d += 2) {
#pragma unroll
            for (int c = 0; c < 2; c++) {
                const int turn = (d + c) << 4, next = ((d + c + 1) & 15) << 4;
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    x[(i + 2) & 3] = i + 2 < 4 ? readQ(turn, i + 2) : readQ(next, i - 2);
                    k[c ^ 1][2 * i] = readK(next, 2 * i), k[c ^ 1][2 * i + 1] = readK(next, 2 * i + 1);
#pragma unroll
                    for (int e = 0; e < 4; e += 2)
#pragma unroll
                        for (int h = 1; h >= 0; h--)
#pragma unroll
                            for (int j = 0; j < 8; j += 2) {
                                multiplyAdd(s[i][j], x[i], k[c][j], e + h, e + h);
                                multiplyAdd(s[i][j + 1], x[i], k[c][j + 1], e + 1 - h, e + 1 - h);
                            }
                }
            }
        }
    }

    // o += p v: queries ty + 8 i, elements 4 tx + (e & 3) + 16 (e >> 2)
    __device__ __forceinline__ void outputs(float (&o)[4][16]) const {
        float4 v[2][4], x[4];
#pragma unroll
        for (int e = 0; e < 4; e++) v[0][e] = read(values + e * 64);
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] = read(weights + i * 8 * TK * 4);
#pragma unroll 1
        for (int q = 0; q < TK / 4; q++) {
            const int next = ((q + 1) & 7) << 4, at = values + q * 4 * ROW, after = values + ((q + 1) & 7) * 4 * ROW;
#pragma unroll
            for (int k = 0; k < 4; k++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    v[(k + 1) & 1][i] = read((k < 3 ? at + (k + 1) * ROW : after) + i * 64);
#pragma unroll
                    for (int e = 0; e < 16; e++) multiplyAdd(o[i][e], x[i], v[k & 1][e >> 2], k, e & 3);
                    if (k == 3) x[i] = read((weights ^ next) + i * 8 * TK * 4);
                }
            }
        }
    }
};

__device__ __forceinline__ void attend(const AttentionArgs& a, unsigned char* shared) {
    const Seq seq = a.b.seqs[blockIdx.z];
    const int q0 = (gridDim.y - 1 - blockIdx.y) * TQ; // the longest rows first
    if (q0 >= seq.count || (a.causal && seq.kvFmt != a.kvFmt)) return;
    const int head = blockIdx.x, kvHead = head / (a.heads / a.kvHeads), warp = threadIdx.x >> 5;
    const int rows = min(TQ, seq.count - q0), first = seq.base + q0; // position of the first query
    const int length = a.causal ? first + rows : seq.count, lo = a.window > 0 ? max(0, first - a.window + 1) : 0;
    const Tiles t(shared);
    {
        const float* q = static_cast<const float*>(a.q) + (long long)(seq.start + q0) * a.ldq + head * 64;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int r = i * 8 + (threadIdx.x >> 4), chunk = threadIdx.x & 15;
            copyAsync(sharedAddress(shared) + r * ROW + ((chunk ^ (r & 7)) << 4), q + (long long)(r < rows ? r : 0) * a.ldq + chunk * 4, r < rows);
        }
    }
    const long long keysAt = keyOffset(a, seq, kvHead);
    const float* keys = a.causal ? static_cast<const float*>(seq.kv) + keysAt : static_cast<const float*>(a.k) + (long long)seq.start * a.ldk + kvHead * 64;
    const float* values = a.causal ? static_cast<const float*>(seq.kv) + keysAt + valueDistance(a, seq)
                                   : static_cast<const float*>(a.v) + (long long)seq.start * a.ldv + kvHead * 64;
    const long long keyStride = a.causal ? 64 : a.ldk, valueStride = a.causal ? 64 : a.ldv;
    const float scale = a.scale * 1.4426950408889634f;
    int p0 = lo + warp * TK;
    if (p0 < length) t.fill<true>(keys, keyStride, p0, length);
    copyCommit();
    if (p0 < length) t.fill<false>(values, valueStride, p0, length);
    copyCommit();
    copyWait<1>();
    __syncthreads(); // queries are there
    float o[4][16] = {}, top[4], sum[4] = {};
#pragma unroll
    for (int i = 0; i < 4; i++) top[i] = -INFINITY;
#pragma unroll 1
    for (; p0 < length; p0 += WARPS * TK) {
        float s[4][8];
        copyWait<1>();
        __syncwarp();
        t.scores(s);
        __syncwarp();
        const int next = p0 + WARPS * TK;
        if (next < length) t.fill<true>(keys, keyStride, next, length);
        copyCommit();
        if (p0 + TK > length || (a.causal && p0 + TK - 1 > first) || (a.window > 0 && p0 <= first + TQ - 1 - a.window)) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    const int p = p0 + 4 * t.tx + (j & 3) + 16 * (j >> 2), at = first + t.ty + 8 * i;
                    if (p >= length || (a.causal && p > at) || (a.window > 0 && p <= at - a.window)) s[i][j] = -INFINITY;
                }
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float best = top[i]; // of the scores before the scale, which is positive
#pragma unroll
            for (int j = 0; j < 8; j += 2) best = fmaxf(best, fmaxf(s[i][j], s[i][j + 1]));
            best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
            best = fmaxf(best, __shfl_xor_sync(~0u, best, 16));
            const float safe = best == -INFINITY ? 0.f : best * scale, keep = exp2Fast(fmaf(top[i], scale, -safe));
            top[i] = best;
#pragma unroll
            for (int j = 0; j < 8; j++) s[i][j] = exp2Fast(fmaf(s[i][j], scale, -safe));
#pragma unroll
            for (int j = 0; j < 8; j += 4) {
                *reinterpret_cast<float4*>(shared + (t.weights ^ ((t.tx + j) << 4)) + i * 8 * TK * 4) = make_float4(s[i][j], s[i][j + 1], s[i][j + 2], s[i][j + 3]);
            }
            sum[i] = sum[i] * keep + (((s[i][0] + s[i][1]) + (s[i][2] + s[i][3])) + ((s[i][4] + s[i][5]) + (s[i][6] + s[i][7]))); // a share of the row
#pragma unroll
            for (int e = 0; e < 16; e++) o[i][e] *= keep;
        }
        copyWait<1>();
        __syncwarp();
        t.outputs(o);
        __syncwarp();
        if (next < length) t.fill<false>(values, valueStride, next, length);
        copyCommit();
    }
    // what the warps have adds up: outputs of each where its tiles were, tops and sums of rows where its weights were
    copyWait<0>();
    __syncwarp();
    float* mine = reinterpret_cast<float*>(shared + QUERIES + warp * OF_WARP);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        sum[i] += __shfl_xor_sync(~0u, sum[i], 1);
        sum[i] += __shfl_xor_sync(~0u, sum[i], 16);
        float* out = mine + (t.ty + 8 * i) * OUT_LD + t.tx * 4;
#pragma unroll
        for (int e = 0; e < 16; e += 4) *reinterpret_cast<float4*>(out + 4 * e) = make_float4(o[i][e], o[i][e + 1], o[i][e + 2], o[i][e + 3]);
        if (t.tx == 0) *reinterpret_cast<float2*>(mine + 2 * TK * 64 + 2 * (t.ty + 8 * i)) = make_float2(top[i], sum[i]);
    }
    __syncthreads();
    const int r = threadIdx.x >> 2, c = threadIdx.x & 3;
    if (r >= rows) return;
    auto of = [&](int w) { return reinterpret_cast<const float*>(shared + QUERIES + w * OF_WARP); };
    float2 each[WARPS];
    float best = -INFINITY, all = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) each[w] = *reinterpret_cast<const float2*>(of(w) + 2 * TK * 64 + 2 * r), best = fmaxf(best, each[w].x);
#pragma unroll
    for (int w = 0; w < WARPS; w++) each[w].x = exp2Fast((each[w].x - best) * scale), all += each[w].x * each[w].y;
    const float inverse = 1.f / all;
    const long long at = (long long)(seq.start + q0 + r) * a.ldo + head * 64 + c * 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float4 y = make_float4(0, 0, 0, 0);
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            const float4 v = *reinterpret_cast<const float4*>(of(w) + r * OUT_LD + i * 16 + c * 4);
            y.x += each[w].x * v.x, y.y += each[w].x * v.y, y.z += each[w].x * v.z, y.w += each[w].x * v.w;
        }
        storePair(a.out, at + i * 16, a.outFmt, y.x * inverse, y.y * inverse);
        storePair(a.out, at + i * 16 + 2, a.outFmt, y.z * inverse, y.w * inverse);
    }
}

// Queries, keys and values, and a causal cache, in float, 16-byte aligned. launch grid(heads, ceil(longest / 32), sequences), block(128)
extern "C" __global__ void __launch_bounds__(32 * WARPS, 2) attn_strict64(const __grid_constant__ AttentionArgs a) {
    extern __shared__ __align__(1024) unsigned char shared[];
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    attend(a, shared);
}
