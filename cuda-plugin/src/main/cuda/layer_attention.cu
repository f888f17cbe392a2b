// norm, q, k and v, attention and its output of one row in one launch: a cluster takes a head, its blocks their share of the
// rows of q, k and v, then of the context, then of the output's rows. Heads that share keys each make them for themselves.
#include "layer.cuh"
#include "layer_heads.cuh"

enum { WEIGHTS, ROW, HEADS, SPLITS, CACHE, BARRIERS };
struct Shared {
    u64 barriers[BARRIERS];
    Stream stream;
};

// T: cache element; LPR: lanes that hold a head vector.
template <int FMT, class T, int LPR> __device__ __forceinline__ void attend(const LayerAttentionArgs& a, uint4* memory, Shared& shared) {
    const int ES = Vec<FMT>::BYTES, N = Vec<FMT>::N, rank = blockIdx.z, head = blockIdx.x, width = a.qkv.k, vecs = width / N, t = threadIdx.x;
    const int dim = a.headDim, ratio = a.heads / a.kvHeads, kvHead = head / ratio, warp = t >> 5, lane = t & 31;
    const int own = dim / LAYER_BLOCKS, rows = 3 * own, outputs = width / LAYER_BLOCKS, headVecs = dim / N; // rows of q and as many of k and v
    auto rowOf = [&](int part, int i) { return (part == 0 ? head : a.heads + (part - 1) * a.kvHeads + kvHead) * dim + rank * own + i; };
    uint4 *qkv = memory, *o = qkv + rows * vecs;
    T *keys = reinterpret_cast<T*>(o + outputs * headVecs), *values = keys + a.chunk * dim;
    float4 *x = reinterpret_cast<float4*>(values + a.chunk * dim), *att = x + width / 4;
    float *q = reinterpret_cast<float*>(att + dim / 4), *k = q + dim, *v = k + dim, *bias = v + dim;
    float *warps = bias + rows, *splits = warps + LAYER_WARPS * (dim + 2); // [warp] and [block][dim + 2]: top, total, sums
    u64* const barriers = shared.barriers;
    if (t == 0) {
        startBarriers(barriers, BARRIERS);
        expect(barriers + WEIGHTS, (rows * vecs + outputs * headVecs) * 16);
        expect(barriers + ROW, Normalized<FMT>::bytes(width));
        expect(barriers + HEADS, 3 * dim * 4);
        expect(barriers + SPLITS, LAYER_BLOCKS * (dim + 2) * 4);
    }
    __syncthreads();
    clusterArrive();
    const int i = t - LAYER_THREADS / 2, part = (i >= own) + (i >= 2 * own), row = rowOf(part, i - part * own); // of threads with a row
    const bool rowed = i >= 0 && i < rows;
    if (t < outputs) {
        bringWeights(o + t * headVecs, static_cast<const char*>(a.o.data) + ((long long)(rank * outputs + t) * a.o.ld + head * dim) * ES, headVecs * 16, barriers + WEIGHTS);
    } else if (rowed) {
        bringWeights(qkv + i * vecs, static_cast<const char*>(a.qkv.data) + (long long)row * a.qkv.ld * ES, vecs * 16, barriers + WEIGHTS);
    }
    // Behind another layer the sampler has ended, and the sequence is known before the wait.
    const bool behind = a.in.count > 0;
    if (!behind) dependencyWait();
    const Seq seq = a.b.seqs[0];
    const int past = seq.base, length = past + 1, lo = a.window > 0 ? max(0, length - a.window) : 0;
    const int share = (length - lo + LAYER_BLOCKS - 1) / LAYER_BLOCKS, from = min(lo + rank * share, length), to = min(from + share, length);
    T* cachedKeys = static_cast<T*>(seq.kv) + a.kvOffset * seq.capacity + (long long)kvHead * seq.capacity * dim;
    T* cachedValues = cachedKeys + (long long)a.kvHeads * seq.capacity * dim;
    auto bringChunk = [&](int at) { // by one thread
        const u32 bytes = max(0, min(min(to, past) - at, a.chunk)) * dim * int(sizeof(T));
        expect(barriers + CACHE, 2 * bytes);
        if (bytes == 0) return;
        bring(keys, cachedKeys + (long long)at * dim, bytes, barriers + CACHE);
        bring(values, cachedValues + (long long)at * dim, bytes, barriers + CACHE);
    };
    if (t == LAYER_THREADS - 1) bringChunk(from);
    Normalized<FMT> normalized(a.in, a.norm, width);
    if (rowed) bias[i] = a.bias ? __ldg(a.bias + row) : 0.f;
    clusterWait();
    if (behind) dependencyWait();
    dependentsLaunch();

    normalized.bringTo(x, a.in, a.norm, width, head == 0, shared.stream, barriers + ROW);
    awaitBytes(barriers + WEIGHTS);
    multiplyForAll<FMT>(qkv, rows, (rows + LAYER_WARPS - 1) / LAYER_WARPS, vecs, x, [&](int row, float y, bool is) {
        const int part = (row >= own) + (row >= 2 * own);
        if (is) send(q + part * (dim - own) + rank * own + row, barriers + HEADS, t & 7, y + bias[row]);
    });
    awaitBytes(barriers + HEADS);
    partEnds(a.mark, 0);
    if (a.rope.cs || a.qNorm.kind != NORM_NONE || a.kNorm.kind != NORM_NONE) {
        if (warp == 0) prepareHead(q, dim, a.qNorm, a.rope);
        if (warp == 1) prepareHead(k, dim, a.kNorm, a.rope);
        __syncthreads();
    }
    const int e0 = lane % LPR * 8;
    const bool valid = e0 < dim;
    float query[8], sums[8] = {}, top = -INFINITY, total = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) query[i] = valid ? q[e0 + i] * a.scale * 1.4426950408889634f : 0.f;
    u32 turn = 0;
#pragma unroll 1
    for (int at = from; at < to; at += a.chunk, turn++) {
        if (turn > 0) {
            __syncthreads();
            if (t == 0) bringChunk(at);
        }
        awaitBytes(barriers + CACHE, turn);
        const int end = min(to, at + a.chunk);
        if (end == length && t < 2 * dim) { // the new position, rounded as the cache holds it
            const bool isV = t >= dim;
            const int d = isV ? t - dim : t;
            const T e = rounded((isV ? v : k)[d], T());
            (isV ? values : keys)[(past - at) * dim + d] = e;
            if (head % ratio == 0 && past < seq.capacity) (isV ? cachedValues : cachedKeys)[(long long)past * dim + d] = e;
        }
        __syncthreads();
#pragma unroll 1
        for (int p0 = at + warp * (32 / LPR); p0 < end; p0 += LAYER_THREADS / LPR) {
            const int p = p0 + lane / LPR, offset = (min(p, end - 1) - at) * dim + (valid ? e0 : 0);
            Eight<T> e, f;
            e.load(keys + offset), f.load(values + offset);
            float c[8], s = 0;
            e.floats(c);
#pragma unroll
            for (int i = 0; i < 8; i++) s += query[i] * c[i];
#pragma unroll
            for (int o = LPR / 2; o; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
            if (p >= end) s = -INFINITY;
            const float best = fmaxf(top, s), safe = best == -INFINITY ? 0.f : best, keep = exp2Fast(top - safe), w = exp2Fast(s - safe);
            top = best, total = total * keep + w;
            f.floats(c);
#pragma unroll
            for (int i = 0; i < 8; i++) sums[i] = sums[i] * keep + w * c[i];
        }
    }
    // lane groups of the warp, then the warps, then the blocks
    float best = top;
#pragma unroll
    for (int o = LPR; o < 32; o <<= 1) best = fmaxf(best, __shfl_xor_sync(~0u, best, o));
    const float keep = top == -INFINITY ? 0.f : exp2Fast(top - best);
    total *= keep;
#pragma unroll
    for (int o = LPR; o < 32; o <<= 1) total += __shfl_xor_sync(~0u, total, o);
    float* mine = warps + warp * (dim + 2);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        float s = sums[i] * keep;
#pragma unroll
        for (int o = LPR; o < 32; o <<= 1) s += __shfl_xor_sync(~0u, s, o);
        if (lane < LPR && valid) mine[2 + e0 + i] = s;
    }
    if (lane == 0) mine[0] = best, mine[1] = total;
    __syncthreads();
    // first the warps' parts, then the blocks': element d of their sum
#pragma unroll 1
    for (int round = 0; round < 2; round++) {
        const int team = t / dim, d = t - team * dim, teams = LAYER_THREADS / dim; // a team sends to every so manieth block
        const float* part = round ? splits : warps;
        if (round) awaitBytes(barriers + SPLITS);
        float best = -INFINITY, total = 0, sum = 0;
#pragma unroll
        for (int w = 0; w < 8; w++) best = fmaxf(best, part[w * (dim + 2)]);
#pragma unroll
        for (int w = 0; w < 8; w++) {
            const float* one = part + w * (dim + 2);
            const float keep = one[0] == -INFINITY ? 0.f : exp2Fast(one[0] - best);
            total += one[1] * keep;
            sum += one[2 + d] * keep;
        }
        if (round) {
            if (team == 0) *placeOf<FMT>(att, d, dim) = __fdividef(sum, total);
        } else if (team < teams) {
            float* to = splits + rank * (dim + 2);
#pragma unroll 1
            for (int b = team; b < LAYER_BLOCKS; b += teams) {
                send(to + 2 + d, barriers + SPLITS, b, sum);
                if (d < 2) send(to + d, barriers + SPLITS, b, d ? total : best);
            }
        }
    }
    __syncthreads();
    partEnds(a.mark, 1);
    multiplyOwn<FMT>(o, outputs, headVecs, att, a.parts + head * width + rank * outputs);
    partEnds(a.mark, 2);
}

template <int FMT, class T> __device__ __forceinline__ void attendHead(const LayerAttentionArgs& a, uint4* memory, Shared& shared) {
    if (a.headDim <= 64) attend<FMT, T, 8>(a, memory, shared);
    else attend<FMT, T, 16>(a, memory, shared);
}
template <int FMT> __device__ __forceinline__ void attention(const LayerAttentionArgs& a) {
    extern __shared__ uint4 memory[];
    __shared__ Shared shared;
    if (a.kvFmt == FMT_F32) attendHead<FMT, float>(a, memory, shared);
    else attendHead<FMT, __half>(a, memory, shared);
}
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) // elsewhere they are never launched
#define BODY(FMT) attention<FMT>(a)
#else
#define BODY(FMT)
#endif
#define KERNEL(NAME, FMT) \
    extern "C" __global__ void __launch_bounds__(LAYER_THREADS, 2) NAME(const __grid_constant__ LayerAttentionArgs a) { BODY(FMT); }
KERNEL(layer_attention_f32, FMT_F32)
KERNEL(layer_attention_f16, FMT_F16)
KERNEL(layer_attention_bf16, FMT_BF16)
