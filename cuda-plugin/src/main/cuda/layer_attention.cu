// norm, q, k and v, attention and its output of one row in one launch: a cluster takes a head, its blocks their share of the
// rows of q, k and v, then of the context, then of the output's rows. Heads that share keys each make them for themselves.
#include "attention.cuh"
#include "layer.cuh"

template <class T> struct Eight { // 8 neighbouring elements of a cache row as they lie there
    uint4 v[sizeof(T) / 2];
    __device__ __forceinline__ void load(const T* p, bool in) {
#pragma unroll
        for (int i = 0; i < int(sizeof(T) / 2); i++) v[i] = in ? __ldcg(reinterpret_cast<const uint4*>(p) + i) : make_uint4(0, 0, 0, 0);
    }
    __device__ __forceinline__ void floats(float f[8]) const {
        if (sizeof(T) == 2) unpack<FMT_F16>(v[0], f);
        else unpack<FMT_F32>(v[0], f), unpack<FMT_F32>(v[sizeof(T) / 2 - 1], f + 4);
    }
};
__device__ __forceinline__ float rounded(float v, float) { return v; }
__device__ __forceinline__ __half rounded(float v, __half) { return __float2half_rn(fminf(fmaxf(v, -65504.f), 65504.f)); }

// A warp's norm and rotation of a head vector in shared memory; out of line, since few models have them.
__device__ __noinline__ void prepareHead(float* v, int dim, const NormRef& norm, const RopeRef& rope) {
    const int lane = threadIdx.x & 31;
    if (norm.kind != NORM_NONE) {
        float sum = 0, sq = 0;
        for (int d = lane; d < dim; d += 32) sum += v[d];
        const float mean = norm.kind == NORM_LAYER ? warpSum(sum) / dim : 0.f;
        for (int d = lane; d < dim; d += 32) sq += (v[d] - mean) * (v[d] - mean);
        const float scale = 1.f / sqrtf(warpSum(sq) / dim + norm.eps);
        for (int d = lane; d < dim; d += 32) v[d] = (v[d] - mean) * scale * norm.w[d] + (norm.b ? norm.b[d] : 0.f);
        __syncwarp();
    }
    const int half = rope.cs ? rope.rotaryDim / 2 : 0;
    for (int j = lane; j < half; j += 32) {
        const int p = rope.interleaved ? 2 * j : j, q = rope.interleaved ? p + 1 : p + half;
        const float2 r = __ldcg(rope.cs + j);
        const float x = v[p], y = v[q];
        v[p] = x * r.x - y * r.y;
        v[q] = y * r.x + x * r.y;
    }
}

struct Shared {
    u64 weights, arrived, met, split; // barriers
    float2 stats[LAYER_BLOCKS];
    float4 slots[LAYER_WARPS][32];
};

// T: cache element; LPR: lanes that hold a head vector.
template <int FMT, class T, int LPR> __device__ __forceinline__ void attend(const LayerAttentionArgs& a, uint4* memory, Shared& shared) {
    const int ES = Vec<FMT>::BYTES, N = Vec<FMT>::N, rank = blockIdx.z, head = blockIdx.x, width = a.qkv.k, vecs = a.qkv.ld / N;
    const int dim = a.headDim, ratio = a.heads / a.kvHeads, kvHead = head / ratio;
    const int rows = dim / LAYER_BLOCKS, outputs = width / LAYER_BLOCKS, headVecs = dim / N; // rows of q, as many of k and v
    auto firstRow = [&](int part) { return (part == 0 ? head : a.heads + (part - 1) * a.kvHeads + kvHead) * dim + rank * rows; };
    uint4 *qkv = memory, *o = qkv + 3 * rows * vecs;
    float4 *x = reinterpret_cast<float4*>(o + outputs * headVecs), *att = x + width / 4;
    float *q = reinterpret_cast<float*>(att + dim / 4), *k = q + dim, *v = k + dim, *bias = v + dim;
    float *warps = bias + 3 * rows, *splits = warps + LAYER_WARPS * (dim + 2); // [warp] and [block][dim + 2]: top, total, sums
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    if (warp == 0) {
        if (lane == 0) {
            expectBytes(&shared.weights, (3 * rows * vecs + outputs * headVecs) * 16);
            expectBytes(&shared.arrived, Stream<FMT>::bytes(width));
            expectBytes(&shared.met, 3 * dim * 4);
            expectBytes(&shared.split, LAYER_BLOCKS * (dim + 2) * 4);
        }
        __syncwarp();
        if (lane < 3) bring(qkv + lane * rows * vecs, static_cast<const char*>(a.qkv.data) + (long long)firstRow(lane) * a.qkv.ld * ES, rows * vecs * 16, &shared.weights);
        const char* from = static_cast<const char*>(a.o.data) + ((long long)rank * outputs * a.o.ld + head * dim) * ES;
#pragma unroll 1
        for (int r = lane; r < outputs; r += 32) bring(o + r * headVecs, from + (long long)r * a.o.ld * ES, headVecs * 16, &shared.weights);
    }
    Stream<FMT> stream;
    stream.x = x, stream.stats = shared.stats, stream.slots = shared.slots, stream.arrived = &shared.arrived;
    stream.prepare(a.in, a.norm, width);
    if (int(threadIdx.x) < 3 * rows) {
        const int part = threadIdx.x / rows;
        bias[threadIdx.x] = a.bias ? __ldg(a.bias + firstRow(part) + threadIdx.x - part * rows) : 0.f;
    }
    __syncthreads(); // the barriers count
    clusterArrive();
    // Behind another layer the sampler has ended, and the sequence is known before the wait.
    const bool behind = a.in.count > 0;
    if (!behind) dependencyWait();
    const Seq seq = a.b.seqs[0];
    const int AT = sizeof(T) == 4 ? 2 : 4, GROUPS = 32 / LPR, NG = LAYER_WARPS * GROUPS; // positions a group takes at once; groups
    const int past = seq.base, length = past + 1, lo = a.window > 0 ? max(0, length - a.window) : 0;
    const int share = (length - lo + LAYER_BLOCKS - 1) / LAYER_BLOCKS, from = min(lo + rank * share, length), to = min(from + share, length);
    const bool last = from < to && to == length; // this block has the new position
    const int cached = min(to, past), e0 = lane % LPR * 8;
    const bool valid = e0 < dim;
    T* keys = static_cast<T*>(seq.kv) + a.kvOffset * seq.capacity + (long long)kvHead * seq.capacity * dim;
    T* values = keys + (long long)a.kvHeads * seq.capacity * dim;
    Eight<T> nextK[AT], nextV[AT];
    int p = from + warp * GROUPS + lane / LPR;
    auto load = [&](int at) {
#pragma unroll
        for (int j = 0; j < AT; j++) {
            const bool in = at + j * NG < cached && valid;
            const int offset = (in ? at + j * NG : 0) * dim + e0;
            nextK[j].load(keys + offset, in);
            nextV[j].load(values + offset, in);
        }
    };
    load(p);
    if (behind) dependencyWait();
    dependentsLaunch();

    stream.bringNormalized(a.in, a.norm, width, head == 0);
    awaitBytes(&shared.weights);
    multiplyRows<FMT>(qkv, vecs, 3 * rows, width / N, x, false, [&](int row, float y, float) {
        const int part = row / rows, e = part * dim + rank * rows + row - part * rows, sub = lane & ((1 << lanesOf(width / N)) - 1);
        if (sub < LAYER_BLOCKS) send(q + e, &shared.met, sub, y + bias[row]);
    });
    awaitBytes(&shared.met);
    if (a.rope.cs || a.qNorm.kind != NORM_NONE || a.kNorm.kind != NORM_NONE) {
        if (warp == 0) prepareHead(q, dim, a.qNorm, a.rope);
        if (warp == 1 && last) prepareHead(k, dim, a.kNorm, a.rope);
        __syncthreads();
    }
    if (last && warp >= LAYER_WARPS - 2 && head % ratio == 0 && past < seq.capacity) {
        const bool isK = warp == LAYER_WARPS - 1;
        for (int d = lane; d < dim; d += 32) (isK ? keys : values)[(long long)past * dim + d] = rounded((isK ? k : v)[d], T());
    }
    float query[8], sums[8] = {}, top = -INFINITY, total = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) query[i] = valid ? q[e0 + i] * a.scale * 1.4426950408889634f : 0.f;
    auto dot = [&](const float f[8]) {
        float s = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) s += query[i] * f[i];
#pragma unroll
        for (int o = LPR / 2; o; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
        return s;
    };
#pragma unroll 1
    for (; p - lane / LPR < cached; p += AT * NG) {
        Eight<T> nowV[AT];
        float s[AT], f[8], best = top;
#pragma unroll
        for (int j = 0; j < AT; j++) {
            nextK[j].floats(f);
            s[j] = dot(f);
            if (p + j * NG >= cached) s[j] = -INFINITY;
            best = fmaxf(best, s[j]);
            nowV[j] = nextV[j];
        }
        if (p - lane / LPR + AT * NG < cached) load(p + AT * NG);
        const float safe = best == -INFINITY ? 0.f : best, keep = exp2Fast(top - safe);
        top = best, total *= keep;
#pragma unroll
        for (int i = 0; i < 8; i++) sums[i] *= keep;
#pragma unroll
        for (int j = 0; j < AT; j++) {
            s[j] = exp2Fast(s[j] - safe), total += s[j];
            nowV[j].floats(f);
#pragma unroll
            for (int i = 0; i < 8; i++) sums[i] += s[j] * f[i];
        }
    }
    if (last && warp == 0) { // the new position, rounded as the cache holds it: the first lane group takes it, the others look on
        float f[8];
#pragma unroll
        for (int i = 0; i < 8; i++) f[i] = valid ? float(rounded(k[e0 + i], T())) : 0.f;
        const float s = dot(f), best = fmaxf(top, s);
        if (lane < LPR) {
            const float keep = exp2Fast(top - best), w = exp2Fast(s - best);
            top = best, total = total * keep + w;
#pragma unroll
            for (int i = 0; i < 8; i++) sums[i] = sums[i] * keep + w * (valid ? float(rounded(v[e0 + i], T())) : 0.f);
        }
        __syncwarp();
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
    // `part` [8][dim + 2] added up: element d of the sums; as it has to be divided by the total
    auto meet = [&](const float* part, int d, float& best, float& total) {
        float sum = 0;
        best = -INFINITY, total = 0;
#pragma unroll
        for (int w = 0; w < 8; w++) best = fmaxf(best, part[w * (dim + 2)]);
#pragma unroll
        for (int w = 0; w < 8; w++) {
            const float* one = part + w * (dim + 2);
            const float keep = one[0] == -INFINITY ? 0.f : exp2Fast(one[0] - best);
            total += one[1] * keep;
            sum += one[2 + d] * keep;
        }
        return sum;
    };
    const int at = threadIdx.x / dim, d = threadIdx.x - at * dim, teams = LAYER_THREADS / dim; // a team sends to every so manieth block
    if (at < teams) {
        float best, total;
        const float sum = meet(warps, d, best, total);
        float* to = splits + rank * (dim + 2);
        for (int b = at; b < LAYER_BLOCKS; b += teams) {
            send(to + 2 + d, &shared.split, b, sum);
            if (d < 2) send(to + d, &shared.split, b, d ? total : best);
        }
    }
    awaitBytes(&shared.split);
    if (int(threadIdx.x) < dim) {
        float best, total;
        const float sum = meet(splits, threadIdx.x, best, total);
        reinterpret_cast<float*>(att + Stream<FMT>::place(threadIdx.x / 4, dim))[threadIdx.x & 3] = __fdividef(sum, total);
    }
    __syncthreads();
    multiplyRows<FMT>(o, headVecs, outputs, headVecs, att, false, [&](int row, float y, float) {
        if ((lane & ((1 << lanesOf(headVecs)) - 1)) == 0) a.parts[head * width + rank * outputs + row] = y;
    });
}

template <int FMT, class T> __device__ __forceinline__ void attendHead(const LayerAttentionArgs& a, uint4* memory, Shared& shared) {
    if (a.headDim <= 64) attend<FMT, T, 8>(a, memory, shared);
    else attend<FMT, T, 16>(a, memory, shared);
}
template <int FMT> __device__ __forceinline__ void attention(const LayerAttentionArgs& a) {
    extern __shared__ uint4 memory[];
    __shared__ Shared shared;
    Mark mark{a.mark};
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
