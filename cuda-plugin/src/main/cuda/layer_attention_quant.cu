// norm, q, k and v, attention and its output of one row in one launch, weights in 8 or 4 bits: a cluster takes some heads, whole column
// tiles of the output's matrix, its blocks their share of the stream's columns, then of the context, then of the output's rows.
#include "layer_heads.cuh"
#include "layer_quant.cuh"

#define DIM 64 // of a head
#define PART (DIM + 2) // floats of a part of a head's attention: top, total, sums

enum { ROW, SUMS, SPLITS, CACHE, BARRIERS = CACHE + 2 };
struct Shared {
    u64 barriers[BARRIERS];
    Arriving arriving;
    Digits x[2], context[4];
};

// T: cache element; G: heads of the cluster that share keys.
template <int FMT, int STAGES, class T, int G> __device__ __forceinline__ void attend(const LayerAttentionArgs& a, char* memory, Shared& shared) {
    const int rank = blockIdx.z, blocks = gridDim.z, width = a.qkv.k, cluster = blockIdx.x, t = threadIdx.x, warp = t >> 5, lane = t & 31;
    const int columns = width / blocks, colTiles = columns / TILE_COLS, ratio = a.heads / a.kvHeads;
    const int heads = a.heads / gridDim.x, sharers = heads / G, kv0 = cluster * heads / ratio; // `sharers` heads of the cache, from kv0 on
    const int headTiles = heads * DIM / TILE_COLS, rows = (heads + 2 * sharers) * DIM;
    auto rowTile = [&](int i) { // of the cluster's q, k and v
        const int q = heads * (DIM / 16), k = sharers * (DIM / 16), v = i - q;
        return v < 0 ? cluster * q + i : (a.heads + kv0) * (DIM / 16) + v + (v < k ? 0 : a.kvHeads * (DIM / 16) - k);
    };
    const WarpTiles in(rows / 16, colTiles);
    auto inRow = [&](int i) { return rowTile(in.from + i); };
    const int firstOut = (rank * LAYER_WARPS + warp) * colTiles; // row tile
    PairRing<FMT, STAGES, decltype(inRow)> ring(a.qkv, rank * colTiles + in.column, in.count, inRow, a.o, firstOut, cluster * headTiles, headTiles, colTiles == 2, memory);
    // two of [keys, values][sharer][position][DIM], in turns
    T* const cached = reinterpret_cast<T*>(memory + LAYER_WARPS * STAGES * ring.STAGE);
    const int ofHead = a.chunk * DIM, ofValues = sharers * ofHead, ofTurn = 2 * ofValues;
    float *sums = reinterpret_cast<float*>(cached + 2 * ofTurn), *splits = sums + blocks * rows; // [block][rows] and [block][head][PART]
    float *vectors = splits + blocks * heads * PART, *mine = vectors + rows, *context = mine + heads * PART;
    // one after the other: parts of the stream; sums [column tile][rows]; parts of attention [warp][G][PART]
    float* const scratch = context + heads * DIM;
    u64* const barriers = shared.barriers;
    if (t == 0) {
        startBarriers(barriers, BARRIERS);
        expect(barriers + ROW, width / TILE_COLS * 8);
        expect(barriers + SUMS, blocks * rows * 4);
        expect(barriers + SPLITS, blocks * heads * PART * 4);
    }
    clusterArrive();
    // Behind another layer the sampler has ended, and the sequence is known before the wait.
    const bool behind = a.in.count > 0;
    if (!behind) dependencyWait();
    const Seq seq = a.b.seqs[0];
    const int past = seq.base, length = past + 1, lo = a.window > 0 ? max(0, length - a.window) : 0;
    const int share = (length - lo + blocks - 1) / blocks, from = min(lo + rank * share, length), to = min(from + share, length);
    T* const cachedKeys = static_cast<T*>(seq.kv) + (a.kvOffset + (long long)kv0 * DIM) * seq.capacity;
    const long long apart = (long long)a.kvHeads * seq.capacity * DIM, perHead = (long long)seq.capacity * DIM; // values, heads of the cache
    auto bringChunk = [&](int at, int turn) { // by one thread
        const u32 bytes = max(0, min(min(to, past) - at, a.chunk)) * DIM * int(sizeof(T));
        u64* const there = barriers + CACHE + (turn & 1);
        expect(there, 2 * sharers * bytes);
        if (bytes == 0) return;
#pragma unroll 1
        for (int s = 0; s < sharers; s++) {
            const T* from = cachedKeys + s * perHead + (long long)at * DIM;
            T* keys = cached + (turn & 1) * ofTurn + s * ofHead;
            bring(keys, from, bytes, there);
            bring(keys + ofValues, from + apart, bytes, there);
        }
    };
    if (t == 0) bringChunk(from, 0), bringChunk(from + a.chunk, 1);
    Incoming<FMT> incoming(a.in, a.norm, columns);
    // A warp makes a head vector of q, k or v, a lane two elements, which rotate together where all of a head does.
    const bool plain = a.qNorm.kind == NORM_NONE && a.kNorm.kind == NORM_NONE && (!a.rope.cs || a.rope.rotaryDim == DIM), near = plain && a.rope.interleaved;
    const int element = warp * DIM + (near ? 2 * lane : lane), partner = near ? 1 : DIM / 2;
    const bool made = element < rows;
    float2 bias = make_float2(0, 0), angle = make_float2(1, 0);
    if (a.bias && made) {
        const float* from = a.bias + rowTile(element >> 4) * 16 + (element & 15);
        bias = make_float2(__ldg(from), __ldg(from + partner));
    }
    if (plain && a.rope.cs && warp < heads + sharers) angle = __ldcg(a.rope.cs + lane);
    clusterWait();
    if (behind) dependencyWait();
    dependentsLaunch();

    incoming.cutTo(shared.x, a.in, a.norm, width, cluster == 0, reinterpret_cast<float4*>(scratch), shared.arriving, barriers + ROW);
    {
        const Operand<FMT> x(shared.x[in.column]);
        ring.multiplyFirst(x, [&](int i, int r, float v) { scratch[in.column * rows + (in.from + i) * 16 + r] = v; });
    }
    __syncthreads();
    if (warp < blocks) { // warp w sends to block w
        const float4* from = reinterpret_cast<const float4*>(scratch);
#pragma unroll 1
        for (int e = lane; e < rows / 4; e += 32) {
            float4 v = from[e];
            if (colTiles > 1) add(v, from[rows / 4 + e]);
            send(reinterpret_cast<float4*>(sums + rank * rows) + e, barriers + SUMS, warp, v);
        }
    }
    const float factor = incoming.factor(a.norm, width, shared.arriving, barriers + ROW);
    awaitBytes(barriers + SUMS);
    if (made) {
        float2 v = make_float2(0, 0);
#pragma unroll
        for (int b = 0; b < LAYER_BLOCKS; b++) if (b < blocks) v.x += sums[b * rows + element], v.y += sums[b * rows + element + partner];
        v.x = v.x * factor + bias.x, v.y = v.y * factor + bias.y;
        vectors[element] = v.x * angle.x - v.y * angle.y;
        vectors[element + partner] = v.y * angle.x + v.x * angle.y;
    }
    __syncthreads();
    partEnds(a.mark, 0);
    if (!plain) {
        if (warp < heads + sharers) prepareHead(vectors + warp * DIM, DIM, warp < heads ? a.qNorm : a.kNorm, a.rope);
        __syncthreads();
    }
    const float *newKeys = vectors + heads * DIM, *newValues = newKeys + sharers * DIM;
    const int sharer = warp & (sharers - 1), e0 = (lane & 7) * 8; // heads that share keys have 8 / sharers warps
    float query[G][8], top[G], total[G], acc[G][8];
#pragma unroll
    for (int h = 0; h < G; h++) {
        top[h] = -INFINITY, total[h] = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) query[h][i] = vectors[(sharer * G + h) * DIM + e0 + i] * a.scale * 1.4426950408889634f, acc[h][i] = 0;
    }
    u32 turn = 0;
#pragma unroll 1
    for (int at = from; at < to; at += a.chunk, turn++) {
        if (turn > 0) {
            __syncthreads();
            if (t == 0) bringChunk(at + a.chunk, turn + 1);
        }
        awaitBytes(barriers + CACHE + (turn & 1), turn >> 1);
        T *const keys = cached + (turn & 1) * ofTurn, *const values = keys + ofValues;
        const int end = min(to, at + a.chunk);
        if (end == length && t < 2 * sharers * DIM) { // the new position, rounded as the cache holds it
            const int n = t / DIM, d = t % DIM, s = n & (sharers - 1);
            const bool isV = n >= sharers;
            const T e = rounded((isV ? newValues : newKeys)[s * DIM + d], T());
            (isV ? values : keys)[s * ofHead + (past - at) * DIM + d] = e;
            if (cluster * heads % ratio == 0 && past < seq.capacity) cachedKeys[(isV ? apart : 0) + s * perHead + (long long)past * DIM + d] = e;
        }
        __syncthreads();
        const T *headKeys = keys + sharer * ofHead + e0, *headValues = values + sharer * ofHead + e0;
#pragma unroll 1
        for (int p0 = at + warp / sharers * 4; p0 < end; p0 += LAYER_WARPS / sharers * 4) {
            const int p = p0 + (lane >> 3), offset = (min(p, end - 1) - at) * DIM;
            Eight<T> e, f;
            e.load(headKeys + offset), f.load(headValues + offset);
            float c[8], s[G];
            e.floats(c);
#pragma unroll
            for (int h = 0; h < G; h++) {
                s[h] = 0;
#pragma unroll
                for (int i = 0; i < 8; i++) s[h] += query[h][i] * c[i];
#pragma unroll
                for (int o = 4; o; o >>= 1) s[h] += __shfl_xor_sync(~0u, s[h], o);
                if (p >= end) s[h] = -INFINITY;
            }
            f.floats(c);
#pragma unroll
            for (int h = 0; h < G; h++) {
                const float best = fmaxf(top[h], s[h]), safe = best == -INFINITY ? 0.f : best, keep = exp2Fast(top[h] - safe), w = exp2Fast(s[h] - safe);
                top[h] = best, total[h] = total[h] * keep + w;
#pragma unroll
                for (int i = 0; i < 8; i++) acc[h][i] = acc[h][i] * keep + w * c[i];
            }
        }
    }
    // the warp's four positions at once become one
#pragma unroll
    for (int h = 0; h < G; h++) {
        float best = top[h];
#pragma unroll
        for (int o = 8; o < 32; o <<= 1) best = fmaxf(best, __shfl_xor_sync(~0u, best, o));
        const float keep = top[h] == -INFINITY ? 0.f : exp2Fast(top[h] - best);
        float sum = total[h] * keep, half[4], quarter[2];
#pragma unroll
        for (int o = 8; o < 32; o <<= 1) sum += __shfl_xor_sync(~0u, sum, o);
        const bool upper = lane & 8, last = lane & 16; // which of the elements a lane keeps
#pragma unroll
        for (int i = 0; i < 4; i++) half[i] = (upper ? acc[h][4 + i] : acc[h][i]) * keep + __shfl_xor_sync(~0u, (upper ? acc[h][i] : acc[h][4 + i]) * keep, 8);
#pragma unroll
        for (int i = 0; i < 2; i++) quarter[i] = (last ? half[2 + i] : half[i]) + __shfl_xor_sync(~0u, last ? half[i] : half[2 + i], 16);
        float* one = scratch + (warp * G + h) * PART;
        *reinterpret_cast<float2*>(one + 2 + e0 + (upper ? 4 : 0) + (last ? 2 : 0)) = make_float2(quarter[0], quarter[1]);
        if (lane == 0) one[0] = best, one[1] = sum;
    }
    __syncthreads();
    // then the warps, then the blocks: element d of head h
    const int h = t / DIM, d = t % DIM;
    auto meet = [&](const float* parts, int count, int step, float& best, float& total) {
        float sum = 0;
        best = -INFINITY, total = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) if (i < count) best = fmaxf(best, parts[i * step]);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (i >= count) continue;
            const float* one = parts + i * step;
            const float keep = one[0] == -INFINITY ? 0.f : exp2Fast(one[0] - best);
            total += one[1] * keep, sum += one[2 + d] * keep;
        }
        return sum;
    };
    float best, all;
    if (h < heads) { // warps sharer, sharer + sharers, ...
        const float sum = meet(scratch + (h / G * G + h % G) * PART, LAYER_WARPS / sharers, sharers * G * PART, best, all);
        mine[h * PART + 2 + d] = sum;
        if (d < 2) mine[h * PART + d] = d ? all : best;
    }
    __syncthreads();
    if (warp < blocks) {
#pragma unroll 1
        for (int e = lane; e < heads * PART / 4; e += 32) {
            send(reinterpret_cast<float4*>(splits + rank * heads * PART) + e, barriers + SPLITS, warp, reinterpret_cast<const float4*>(mine)[e]);
        }
    }
    awaitBytes(barriers + SPLITS);
    if (h < heads) context[t] = __fdividef(meet(splits + h * PART, blocks, heads * PART, best, all), all);
    __syncthreads();
    if (warp < headTiles) cutFrom<FMT>(context + warp * 128, shared.context[warp]);
    __syncthreads();
    partEnds(a.mark, 1);
    const float v = ring.multiplySecond(shared.context);
    if (ring.tileOfLane() < colTiles) a.parts[cluster * width + (firstOut + ring.tileOfLane()) * 16 + ring.rowOfLane()] = v;
    partEnds(a.mark, 2);
}

template <int FMT, class T, int G> __device__ __forceinline__ void attention(const LayerAttentionArgs& a) {
    extern __shared__ __align__(128) char memory[];
    __shared__ Shared shared;
    attend<FMT, FMT == FMT_Q8_0 ? 2 : 3, T, G>(a, memory, shared);
}
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) // elsewhere they are never launched
#define BODY(FMT, T, G) attention<FMT, T, G>(a)
#else
#define BODY(FMT, T, G)
#endif
// Kernels of their own: as branches of one they spill.
#define KERNEL(NAME, FMT, T, G) \
    extern "C" __global__ void __launch_bounds__(LAYER_THREADS, 2) NAME##_##G(const __grid_constant__ LayerAttentionArgs a) { BODY(FMT, T, G); }
#define KERNELS(NAME, FMT, T) KERNEL(NAME, FMT, T, 1) KERNEL(NAME, FMT, T, 2)
KERNELS(layer_attention_q8_0_f16, FMT_Q8_0, __half)
KERNELS(layer_attention_q4_0_f16, FMT_Q4_0, __half)
KERNELS(layer_attention_q4_1_f16, FMT_Q4_1, __half)
KERNELS(layer_attention_q8_0_f32, FMT_Q8_0, float)
KERNELS(layer_attention_q4_0_f32, FMT_Q4_0, float)
KERNELS(layer_attention_q4_1_f32, FMT_Q4_1, float)
