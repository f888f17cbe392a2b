// Attention of one new token per sequence (flash-decoding: Dao et al., 2023): norm, rotation, cache append, attention and
// the combination of the splits in one launch.
//
// A block takes a kv head, up to 8 of its query heads, and a share of the positions. Inside, every group of lanes that
// together hold a head vector (8 elements a lane) walks its own positions with its own online softmax, so keys and values
// are read once, 16 bytes a lane, and nothing is exchanged until the end. The last block of a head adds up the splits.
#include "attention.cuh"

#define DECODE_WARPS 4

template <class T> __device__ __forceinline__ void load8(const T* p, int valid, float f[8]);
template <> __device__ __forceinline__ void load8(const float* p, int valid, float f[8]) {
    if (valid == 8 && (reinterpret_cast<uintptr_t>(p) & 15) == 0) {
        float4 x = __ldcg(reinterpret_cast<const float4*>(p)), y = __ldcg(reinterpret_cast<const float4*>(p) + 1);
        f[0] = x.x, f[1] = x.y, f[2] = x.z, f[3] = x.w, f[4] = y.x, f[5] = y.y, f[6] = y.z, f[7] = y.w;
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) f[i] = i < valid ? __ldcg(p + i) : 0.f;
    }
}
template <> __device__ __forceinline__ void load8(const __half* p, int valid, float f[8]) {
    if (valid == 8 && (reinterpret_cast<uintptr_t>(p) & 15) == 0) {
        uint4 v = __ldcg(reinterpret_cast<const uint4*>(p));
        u32 w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float2 q = f16Pair(w[i]);
            f[2 * i] = q.x, f[2 * i + 1] = q.y;
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) f[i] = i < valid ? __half2float(__ldcg(p + i)) : 0.f;
    }
}

// T: cache element; LPR: lanes that hold a head vector; GQ: query heads at once.
template <class T, int LPR, int GQ> __device__ __forceinline__ void decode(const AttentionArgs& a, float* shared) {
    const int dim = a.headDim, ratio = a.heads / a.kvHeads, groupsOfQ = (ratio + 7) / 8;
    const int kvHead = blockIdx.y / groupsOfQ, q0 = (blockIdx.y % groupsOfQ) * 8, nq = min(GQ, ratio - q0), r = blockIdx.z;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, sub = lane % LPR, e0 = sub * 8;
    const int valid = min(max(dim - e0, 0), 8), fmt = sizeof(T) == 2 ? FMT_F16 : FMT_F32;
    float* qs = shared;             // [GQ][dim]
    float* ks = shared + GQ * dim;  // [dim] new key, then the warps' results [warp][GQ][dim + 2]
    const Seq seq = a.b.seqs[r];    // in decode, row r is sequence r
    const int length = seq.base + 1, lo = a.window > 0 ? max(0, length - a.window) : 0, n = length - lo;
    const int share = max((n + int(gridDim.x) - 1) / int(gridDim.x), 16), active = (n + share - 1) / share;
    if (int(blockIdx.x) >= active || seq.kvFmt != a.kvFmt || seq.base >= seq.capacity) return;
    const int from = lo + blockIdx.x * share, to = min(from + share, length);
    T* keys = static_cast<T*>(seq.kv) + keyOffset(a, seq, kvHead);
    T* values = keys + valueDistance(a, seq);

    const int head0 = kvHead * ratio + q0;
    for (int h = warp; h < nq; h += DECODE_WARPS) {
        headVector(a.q, (long long)r * a.ldq + (head0 + h) * dim, a.inFmt, dim, a.qNorm, a.rope, true, r, qs + h * dim);
    }
    if (to == length && warp == DECODE_WARPS - 1) { // this block holds the new position
        headVector(a.k, (long long)r * a.ldk + kvHead * dim, a.inFmt, dim, a.kNorm, a.rope, true, r, ks);
        for (int d = lane; d < dim; d += 32) {
            storeAs(keys, (long long)seq.base * dim + d, fmt, ks[d]);
            storeAs(values, (long long)seq.base * dim + d, fmt, __ldcg(static_cast<const float*>(a.v) + (long long)r * a.ldv + kvHead * dim + d));
        }
    }
    __syncthreads();
    float q[GQ][8], o[GQ][8] = {}, top[GQ], sum[GQ] = {};
#pragma unroll
    for (int h = 0; h < GQ; h++) {
        top[h] = -INFINITY;
#pragma unroll
        for (int i = 0; i < 8; i++) q[h][i] = h < nq && i < valid ? qs[h * dim + e0 + i] * a.scale * 1.4426950408889634f : 0.f;
    }
    const int AT = GQ >= 4 ? 2 : 4, NG = DECODE_WARPS * 32 / LPR; // positions a lane group takes at once; lane groups
    for (int p = from + warp * (32 / LPR) + lane / LPR; p - (lane / LPR) < to; p += AT * NG) {
        float k[AT][8], v[AT][8];
#pragma unroll
        for (int j = 0; j < AT; j++) {
            bool in = p + j * NG < to;
            load8(keys + (long long)(in ? p + j * NG : from) * dim + e0, in ? valid : 0, k[j]);
            load8(values + (long long)(in ? p + j * NG : from) * dim + e0, in ? valid : 0, v[j]);
        }
#pragma unroll
        for (int h = 0; h < GQ; h++) {
            float s[AT], best = top[h];
#pragma unroll
            for (int j = 0; j < AT; j++) {
                s[j] = 0;
#pragma unroll
                for (int i = 0; i < 8; i++) s[j] += q[h][i] * k[j][i];
#pragma unroll
                for (int x = LPR / 2; x; x >>= 1) s[j] += __shfl_xor_sync(~0u, s[j], x);
                if (p + j * NG >= to) s[j] = -INFINITY;
                best = fmaxf(best, s[j]);
            }
            if (best == -INFINITY) continue;
            float keep = exp2f(top[h] - best);
            top[h] = best;
            sum[h] *= keep;
#pragma unroll
            for (int i = 0; i < 8; i++) o[h][i] *= keep;
#pragma unroll
            for (int j = 0; j < AT; j++) {
                float w = exp2f(s[j] - best);
                sum[h] += w;
#pragma unroll
                for (int i = 0; i < 8; i++) o[h][i] += w * v[j][i];
            }
        }
    }
    // lane groups of the warp, then the warps
    float* mine = ks + warp * GQ * (dim + 2);
    __syncthreads();
#pragma unroll
    for (int h = 0; h < GQ; h++) {
        float best = top[h];
#pragma unroll
        for (int x = LPR; x < 32; x <<= 1) best = fmaxf(best, __shfl_xor_sync(~0u, best, x));
        float keep = top[h] == -INFINITY ? 0.f : exp2f(top[h] - best);
        sum[h] *= keep;
#pragma unroll
        for (int x = LPR; x < 32; x <<= 1) sum[h] += __shfl_xor_sync(~0u, sum[h], x);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float v = o[h][i] * keep;
#pragma unroll
            for (int x = LPR; x < 32; x <<= 1) v += __shfl_xor_sync(~0u, v, x);
            if (lane < LPR && i < valid) mine[h * (dim + 2) + 2 + e0 + i] = v;
        }
        if (lane == 0) mine[h * (dim + 2)] = best, mine[h * (dim + 2) + 1] = sum[h];
    }
    __syncthreads();
    float* work = a.work + (((long long)r * a.heads + head0) * a.splits + blockIdx.x) * (dim + 2); // next head: splits * (dim + 2)
    const long long out = (long long)r * a.ldo + head0 * dim;
    for (int i = threadIdx.x; i < nq * dim; i += blockDim.x) {
        int h = i / dim, d = i % dim;
        float best = -INFINITY, total = 0, v = 0;
        for (int w = 0; w < DECODE_WARPS; w++) best = fmaxf(best, ks[(w * GQ + h) * (dim + 2)]);
        for (int w = 0; w < DECODE_WARPS; w++) {
            const float* part = ks + (w * GQ + h) * (dim + 2);
            float keep = part[0] == -INFINITY ? 0.f : exp2f(part[0] - best);
            total += part[1] * keep;
            v += part[2 + d] * keep;
        }
        if (active == 1) {
            storeAs(a.out, out + h * dim + d, a.outFmt, v / total);
        } else {
            float* w = work + (long long)h * a.splits * (dim + 2);
            w[2 + d] = v;
            if (d == 0) w[0] = best, w[1] = total;
        }
    }
    if (active == 1) return;
    __threadfence();
    __syncthreads();
    int* counter = a.counters + r * gridDim.y + blockIdx.y;
    if (threadIdx.x == 0) reinterpret_cast<int*>(shared)[0] = atomicAdd(counter, 1);
    __syncthreads();
    if (reinterpret_cast<int*>(shared)[0] != active - 1) return;
    __threadfence();
    if (threadIdx.x == 0) *counter = 0;
    work -= (long long)blockIdx.x * (dim + 2);
    for (int i = threadIdx.x; i < nq * dim; i += blockDim.x) {
        int h = i / dim, d = i % dim;
        const float* w = work + (long long)h * a.splits * (dim + 2);
        float best = -INFINITY, total = 0, v = 0;
        for (int s = 0; s < active; s++) best = fmaxf(best, __ldcg(w + s * (dim + 2)));
        for (int s = 0; s < active; s++) {
            const float* part = w + s * (dim + 2);
            float keep = exp2f(__ldcg(part) - best);
            total += __ldcg(part + 1) * keep;
            v += __ldcg(part + 2 + d) * keep;
        }
        storeAs(a.out, out + h * dim + d, a.outFmt, v / total);
    }
}

template <class T, int LPR> __device__ __forceinline__ void decodeHeads(const AttentionArgs& a, float* shared) {
    int ratio = a.heads / a.kvHeads;
    if (ratio == 1) decode<T, LPR, 1>(a, shared);
    else if (ratio == 2) decode<T, LPR, 2>(a, shared);
    else if (ratio <= 4) decode<T, LPR, 4>(a, shared);
    else decode<T, LPR, 8>(a, shared);
}
template <class T> __device__ __forceinline__ void decodeDims(const AttentionArgs& a, float* shared) {
    if (a.headDim <= 64) decodeHeads<T, 8>(a, shared);
    else if (a.headDim <= 128) decodeHeads<T, 16>(a, shared);
    else decodeHeads<T, 32>(a, shared);
}

extern "C" __global__ void __launch_bounds__(DECODE_WARPS * 32) attn_decode(const __grid_constant__ AttentionArgs a) {
    extern __shared__ float heads[]; // (GQ * (1 + 4)) * (headDim + 2) floats, GQ = 1, 2, 4, 8 by heads / kvHeads
    Mark mark{a.mark};
    dependentsLaunch();
    dependencyWait();
    if (a.kvFmt == FMT_F32) decodeDims<float>(a, heads);
    else decodeDims<__half>(a, heads);
}
