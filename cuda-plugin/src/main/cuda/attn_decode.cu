// Attention of one new token per sequence (flash-decoding: Dao et al., 2023): norm, rotation, cache append, attention and
// the combination of the splits in one launch.
//
// A block takes a kv head, one or two of its query heads (more do not fit 128 registers;
// their keys come from L2 then), and a share of the positions. Inside, every group of lanes that
// together hold a head vector (8 elements a lane) walks its own positions with its own online softmax, so keys and values
// are read once, 16 bytes a lane, and nothing is exchanged until the end. The last block of a head adds up the splits.
//
// The phase is latency: a share is at least 128 positions' worth of work for the block (splitting a short context over more
// blocks costs 1.5-2 us of fence, atomic and re-reading), and the first keys and values are read before the wait. That is
// sound because every kernel lets its dependents start only after its own wait: when this one runs, all but the kernel right
// before it (which made q, k, v) are complete, the sampler and the last token's attention among them.
#include "attention.cuh"
#include "cluster.cuh"

#define DECODE_WARPS 8
#define MOST_MEETING 8 // splits of a cluster

template <class T> struct Eight { // 8 neighbouring elements of a cache row as they lie there
    uint4 v[sizeof(T) / 2];
    __device__ __forceinline__ void floats(float f[8]) const {
        if (sizeof(T) == 2) {
            float2 a = f16Pair(v[0].x), b = f16Pair(v[0].y), c = f16Pair(v[0].z), d = f16Pair(v[0].w);
            f[0] = a.x, f[1] = a.y, f[2] = b.x, f[3] = b.y, f[4] = c.x, f[5] = c.y, f[6] = d.x, f[7] = d.y;
        } else {
            const uint4 a = v[0], b = v[sizeof(T) / 2 - 1];
            f[0] = asFloat(a.x), f[1] = asFloat(a.y), f[2] = asFloat(a.z), f[3] = asFloat(a.w);
            f[4] = asFloat(b.x), f[5] = asFloat(b.y), f[6] = asFloat(b.z), f[7] = asFloat(b.w);
        }
    }
};
// ODD: rows are no multiple of 8 elements, which are read one by one.
template <bool ODD, class T> __device__ __forceinline__ Eight<T> loadEight(const T* p, int valid) {
    Eight<T> r;
    if constexpr (ODD) {
        T e[8];
#pragma unroll
        for (int i = 0; i < 8; i++) e[i] = i < valid ? p[i] : T(0.f);
        memcpy(&r, e, sizeof r);
    } else {
#pragma unroll
        for (int i = 0; i < int(sizeof(T) / 2); i++) r.v[i] = valid > 0 ? __ldcg(reinterpret_cast<const uint4*>(p) + i) : make_uint4(0, 0, 0, 0);
    }
    return r;
}
__device__ __forceinline__ float rounded(float v, float) { return v; }
__device__ __forceinline__ __half rounded(float v, __half) { return __float2half_rn(fminf(fmaxf(v, -65504.f), 65504.f)); }

__device__ __forceinline__ float power2(float v) { // 2 ulp, as exp2f, in one instruction; 0 below 2^-126
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
    return r;
}

// The head's norm, in shared memory; out of line, since few models have one.
__device__ __noinline__ void normHead(float* v, int dim, const float* w, const float* b, float eps, bool layer) {
    const int lane = threadIdx.x & 31;
    float sum = 0, sq = 0;
    for (int d = lane; d < dim; d += 32) sum += v[d];
    const float mean = layer ? warpSum(sum) / dim : 0.f;
    for (int d = lane; d < dim; d += 32) sq += (v[d] - mean) * (v[d] - mean);
    const float scale = 1.f / sqrtf(warpSum(sq) / dim + eps);
    for (int d = lane; d < dim; d += 32) v[d] = (v[d] - mean) * scale * w[d] + (b ? b[d] : 0.f);
    __syncwarp();
}

// A warp brings a head vector of at most 32 N elements into dst: normalized, rotated.
template <int N>
__device__ __forceinline__ void bringHead(const float* src, int dim, const NormRef& norm, const RopeRef& rope, const Rotation& rotation, float* dst) {
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (lane + 32 * i < dim) dst[lane + 32 * i] = __ldcg(src + lane + 32 * i);
    }
    __syncwarp();
    if (norm.kind != NORM_NONE) normHead(dst, dim, norm.w, norm.b, norm.eps, norm.kind == NORM_LAYER);
    if (!rope.cs) return;
    const int half = rope.rotaryDim / 2;
#pragma unroll
    for (int i = 0; i < (N + 1) / 2; i++) {
        const int j = lane + 32 * i, p = rope.interleaved ? 2 * j : j, q = rope.interleaved ? p + 1 : p + half;
        if (j >= half) break;
        const float2 r = rotation.c[i];
        const float x = dst[p], y = dst[q];
        dst[p] = x * r.x - y * r.y;
        dst[q] = y * r.x + x * r.y;
    }
    __syncwarp();
}

// T: cache element; LPR: lanes that hold a head vector; GQ: query heads at once; MEET: the splits are a cluster. The code is run once a phase and read from
// memory as it runs, so that its length is time: what is rare is out of line or a variant of its own.
template <class T, int LPR, int GQ, bool ODD, bool MEET> __device__ __forceinline__ void decode(const AttentionArgs& a, float* shared, u64* arrived) {
    const int AT = GQ > 1 || sizeof(T) == 4 ? 2 : 4, GROUPS = 32 / LPR, NG = DECODE_WARPS * GROUPS; // positions a group takes at once; groups
    const int dim = a.headDim, ratio = a.heads / a.kvHeads, groupsOfQ = (ratio + GQ - 1) / GQ;
    const int kvHead = blockIdx.y / groupsOfQ, q0 = (blockIdx.y % groupsOfQ) * GQ, nq = min(GQ, ratio - q0), r = MEET ? blockIdx.x : blockIdx.z;
    const int split = MEET ? blockIdx.z : blockIdx.x, splits = MEET ? gridDim.z : gridDim.x;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, sub = lane % LPR, e0 = sub * 8;
    const int valid = min(max(dim - e0, 0), 8);
    float* qs = shared;             // [GQ][dim], then the new key and value [2][dim]; at the end [warp][GQ][dim + 2]
    float* fresh = shared + GQ * dim;
    const Seq seq = a.b.seqs[r];    // in decode, row r is sequence r
    const int past = seq.base, length = past + 1, lo = a.window > 0 ? max(0, length - a.window) : 0, n = length - lo;
    const int share = max((n + splits - 1) / splits, 2048 / LPR), active = (n + share - 1) / share;
    const bool idle = split >= active || seq.kvFmt != a.kvFmt || past >= seq.capacity;
    const int from = lo + split * share, to = min(from + share, length), cached = min(to, past);
    T* keys = static_cast<T*>(seq.kv) + keyOffset(a, seq, kvHead);
    T* values = keys + valueDistance(a, seq);
    const int head0 = kvHead * ratio + q0;

    Eight<T> nextK[AT], nextV[AT];
    int p = from + warp * GROUPS + lane / LPR;
    auto load = [&](int at) {
#pragma unroll
        for (int j = 0; j < AT; j++) {
            bool in = at + j * NG < cached && !idle;
            long long o = (long long)(in ? at + j * NG : 0) * dim + e0;
            nextK[j] = loadEight<ODD>(keys + o, in ? valid : 0);
            nextV[j] = loadEight<ODD>(values + o, in ? valid : 0);
        }
    };
    load(p);
    // split c makes outputs c * part .. of the nq * dim; what it is sent: sums [split][part], then tops and totals [split][head][2]
    const int part = MEET ? (nq * dim + active - 1) / active : 0, own = min(part, max(0, nq * dim - split * part));
    if (MEET) {
        if (threadIdx.x == 0) expectBytes(arrived, active * 4 * (own + 2 * nq));
        clusterArrive();
    }
    Rotation rotation;
    rotation.load(a.rope, r);
    dependencyWait();
    dependentsLaunch();
    if (idle) return;
    const bool last = to == length, isK = last && warp == DECODE_WARPS - 1; // this block has the new position
    if (warp < nq || isK) {
        const float* from = static_cast<const float*>(isK ? a.k : a.q) + (long long)r * (isK ? a.ldk : a.ldq) + (isK ? kvHead : head0 + warp) * dim;
        bringHead<LPR / 4>(from, dim, isK ? a.kNorm : a.qNorm, a.rope, rotation, isK ? fresh : qs + warp * dim);
    }
    if (isK) {
        for (int d = lane; d < dim; d += 32) {
            T k = rounded(fresh[d], T()); // rounded as the cache holds it
            keys[(long long)past * dim + d] = k;
            fresh[d] = float(k);
        }
    }
    if (last && warp == DECODE_WARPS - 2) {
        for (int d = lane; d < dim; d += 32) {
            T v = rounded(__ldcg(static_cast<const float*>(a.v) + (long long)r * a.ldv + kvHead * dim + d), T());
            values[(long long)past * dim + d] = v;
            fresh[dim + d] = float(v);
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
    auto dot = [&](int h, const float k[8]) {
        float s = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) s += q[h][i] * k[i];
#pragma unroll
        for (int x = LPR / 2; x; x >>= 1) s += __shfl_xor_sync(~0u, s, x);
        return s;
    };
    for (; p - lane / LPR < cached; p += AT * NG) {
        Eight<T> k[AT], v[AT];
#pragma unroll
        for (int j = 0; j < AT; j++) k[j] = nextK[j], v[j] = nextV[j];
        if (p - lane / LPR + AT * NG < cached) load(p + AT * NG);
        float s[GQ][AT], f[8];
#pragma unroll
        for (int j = 0; j < AT; j++) {
            k[j].floats(f);
#pragma unroll
            for (int h = 0; h < GQ; h++) {
                s[h][j] = dot(h, f);
                if (p + j * NG >= cached) s[h][j] = -INFINITY;
            }
        }
#pragma unroll
        for (int h = 0; h < GQ; h++) {
            float best = top[h];
#pragma unroll
            for (int j = 0; j < AT; j++) best = fmaxf(best, s[h][j]);
            float safe = best == -INFINITY ? 0.f : best, keep = power2(top[h] - safe);
            top[h] = best;
            sum[h] *= keep;
#pragma unroll
            for (int i = 0; i < 8; i++) o[h][i] *= keep;
#pragma unroll
            for (int j = 0; j < AT; j++) s[h][j] = power2(s[h][j] - safe), sum[h] += s[h][j];
        }
#pragma unroll
        for (int j = 0; j < AT; j++) {
            v[j].floats(f);
#pragma unroll
            for (int h = 0; h < GQ; h++) {
#pragma unroll
                for (int i = 0; i < 8; i++) o[h][i] += s[h][j] * f[i];
            }
        }
    }
    if (last && warp == 0) { // the new position: the first lane group takes it, the others look on
        float f[8];
#pragma unroll
        for (int i = 0; i < 8; i++) f[i] = i < valid ? fresh[e0 + i] : 0.f;
#pragma unroll
        for (int h = 0; h < GQ; h++) {
            float s = dot(h, f), best = fmaxf(top[h], s);
            if (lane >= LPR) continue;
            float keep = power2(top[h] - best), w = power2(s - best);
            top[h] = best;
            sum[h] = sum[h] * keep + w;
#pragma unroll
            for (int i = 0; i < 8; i++) o[h][i] = o[h][i] * keep + w * (i < valid ? fresh[dim + e0 + i] : 0.f);
        }
        __syncwarp();
    }
    // lane groups of the warp, then the warps
    float* mine = shared + warp * GQ * (dim + 2);
    __syncthreads();
#pragma unroll
    for (int h = 0; h < GQ; h++) {
        float best = top[h];
#pragma unroll
        for (int x = LPR; x < 32; x <<= 1) best = fmaxf(best, __shfl_xor_sync(~0u, best, x));
        float keep = top[h] == -INFINITY ? 0.f : power2(top[h] - best);
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
    float* work = a.work + (((long long)r * a.heads + head0) * a.splits + split) * (dim + 2); // next head: splits * (dim + 2)
    const long long out = (long long)r * a.ldo + head0 * dim;
    float *sums = shared + DECODE_WARPS * GQ * (dim + 2), *tops = sums + active * part;
    if (MEET && active > 1) clusterWait(); // every split has started
    for (int i = threadIdx.x; i < nq * dim; i += blockDim.x) {
        int h = i / dim, d = i % dim;
        float best = -INFINITY, total = 0, v = 0;
#pragma unroll
        for (int w = 0; w < DECODE_WARPS; w++) best = fmaxf(best, shared[(w * GQ + h) * (dim + 2)]);
#pragma unroll
        for (int w = 0; w < DECODE_WARPS; w++) {
            const float* part = shared + (w * GQ + h) * (dim + 2);
            float keep = part[0] == -INFINITY ? 0.f : power2(part[0] - best);
            total += part[1] * keep;
            v += part[2 + d] * keep;
        }
        if (active == 1) {
            storeAs(a.out, out + h * dim + d, a.outFmt, __fdividef(v, total));
        } else if constexpr (MEET) {
            const int to = i / part;
            send(sums + split * part + i - to * part, arrived, to, v);
            for (int c = d; c < active; c += dim) { // as a rule one thread a split
                send(tops + (split * nq + h) * 2, arrived, c, best);
                send(tops + (split * nq + h) * 2 + 1, arrived, c, total);
            }
        } else {
            float* w = work + (long long)h * a.splits * (dim + 2);
            w[2 + d] = v;
            if (d == 0) w[0] = best, w[1] = total;
        }
    }
    if (active == 1) return;
    if constexpr (MEET) {
        awaitBytes(arrived);
        for (int i = threadIdx.x; i < own; i += blockDim.x) {
            const float* top = tops + (split * part + i) / dim * 2;
            float best = -INFINITY, total = 0, v = 0;
#pragma unroll
            for (int c = 0; c < MOST_MEETING; c++) if (c < active) best = fmaxf(best, top[c * nq * 2]);
#pragma unroll
            for (int c = 0; c < MOST_MEETING; c++) {
                if (c >= active) break;
                const float keep = power2(top[c * nq * 2] - best);
                total += top[c * nq * 2 + 1] * keep;
                v += sums[c * part + i] * keep;
            }
            storeAs(a.out, out + split * part + i, a.outFmt, __fdividef(v, total));
        }
        return;
    }
    __threadfence();
    __syncthreads();
    int* counter = a.counters + r * gridDim.y + blockIdx.y;
    if (threadIdx.x == 0) reinterpret_cast<int*>(shared)[0] = atomicAdd(counter, 1);
    __syncthreads();
    if (reinterpret_cast<int*>(shared)[0] != active - 1) return;
    __threadfence();
    if (threadIdx.x == 0) *counter = 0;
    work -= (long long)split * (dim + 2);
    for (int i = threadIdx.x; i < nq * dim; i += blockDim.x) {
        int h = i / dim, d = i % dim;
        const float* w = work + (long long)h * a.splits * (dim + 2);
        float best = -INFINITY, total = 0, v = 0;
#pragma unroll 4
        for (int s = 0; s < active; s++) best = fmaxf(best, __ldcg(w + s * (dim + 2)));
#pragma unroll 4
        for (int s = 0; s < active; s++) {
            const float* part = w + s * (dim + 2);
            float keep = power2(__ldcg(part) - best);
            total += __ldcg(part + 1) * keep;
            v += __ldcg(part + 2 + d) * keep;
        }
        storeAs(a.out, out + h * dim + d, a.outFmt, __fdividef(v, total));
    }
}

template <class T, bool MEET, int LPR, bool ODD = false> __device__ __forceinline__ void decodeHeads(const AttentionArgs& a, float* shared, u64* arrived) {
    if (a.heads == a.kvHeads) decode<T, LPR, 1, ODD, MEET>(a, shared, arrived);
    else decode<T, LPR, 2, ODD, MEET>(a, shared, arrived);
}
template <class T, bool MEET> __device__ __forceinline__ void decodeDims(const AttentionArgs& a, float* shared, u64* arrived) {
    if (a.headDim % 8) decodeHeads<T, MEET, 32, true>(a, shared, arrived);
    else if (a.headDim <= 64) decodeHeads<T, MEET, 8>(a, shared, arrived);
    else if (a.headDim <= 128) decodeHeads<T, MEET, 16>(a, shared, arrived);
    else decodeHeads<T, MEET, 32>(a, shared, arrived);
}

extern "C" __global__ void __launch_bounds__(DECODE_WARPS * 32, 2) attn_decode(const __grid_constant__ AttentionArgs a) {
    extern __shared__ float heads[]; // 8 warps * GQ * (headDim + 2) floats, GQ = 1 where heads == kvHeads, else 2
    Mark mark{a.mark};
    if (a.kvFmt == FMT_F32) decodeDims<float, false>(a, heads, nullptr);
    else decodeDims<__half, false>(a, heads, nullptr);
}
// The same with the splits as a cluster, which add up in distributed shared memory (9.0 only).
extern "C" __global__ void __launch_bounds__(DECODE_WARPS * 32, 2) attn_decode_cluster(const __grid_constant__ AttentionArgs a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) // elsewhere it is never launched
    extern __shared__ float heads[]; // GQ * (headDim + 2 * splits) + splits floats more
    __shared__ u64 arrived;
    Mark mark{a.mark};
    if (a.kvFmt == FMT_F32) decodeDims<float, true>(a, heads, &arrived);
    else decodeDims<__half, true>(a, heads, &arrived);
#endif
}
