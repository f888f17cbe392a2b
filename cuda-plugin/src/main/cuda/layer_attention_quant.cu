// norm, q, k and v, attention and its output of one row in one launch, weights in 8 or 4 bits: a cluster takes some heads, whole column
// tiles of the output's matrix, its blocks their share of the stream's columns, then of the context, then of the output's rows.
#include "layer_heads.cuh"
#include "layer_quant.cuh"

#define HEADS 2 // of a cluster

enum { ROW, SUMS, SPLITS, BARRIERS };

// T: cache element; DIM: of a head; G: heads of the cluster that share keys; TILES: column tiles of a block, at most.
template <int FMT, int STAGES, class T, int DIM, int G, int TILES> __device__ __forceinline__ void attend(const LayerAttentionArgs& a) {
    extern __shared__ __align__(128) char memory[];
    __shared__ struct {
        u64 barriers[BARRIERS];
        Arriving<TILES> arriving;
        Digits x[TILES], context[4];
    } shared;
    const int PART = DIM + 2; // floats of a part of a head's attention: top, total, sums
    const int rank = blockIdx.z, blocks = gridDim.z, width = a.qkv.k, cluster = blockIdx.x, t = threadIdx.x, warp = t >> 5, lane = t & 31;
    const int allTiles = width / TILE_COLS, firstTile = allTiles * rank / blocks, colTiles = allTiles * (rank + 1) / blocks - firstTile, ratio = a.heads / a.kvHeads;
    const int sharers = HEADS / G, kv0 = cluster * HEADS / ratio; // `sharers` heads of the cache, from kv0 on
    const int headTiles = HEADS * DIM / TILE_COLS, rows = (HEADS + 2 * sharers) * DIM;
    auto rowTile = [&](int i) { // of the cluster's q, k and v
        const int q = HEADS * (DIM / 16), k = sharers * (DIM / 16), v = i - q;
        return v < 0 ? cluster * q + i : (a.heads + kv0) * (DIM / 16) + v + (v < k ? 0 : a.kvHeads * (DIM / 16) - k);
    };
    // The warp's pairs of row tiles, column after column; of so many that it meets at most two columns. Then its row tiles of the output.
    const int pairs = rows / 32 * colTiles, fromPair = pairs * warp / LAYER_WARPS, column = fromPair * 32 / rows, inColumn = fromPair - column * (rows / 32);
    const int count = 2 * (pairs * (warp + 1) / LAYER_WARPS - fromPair), ofFirst = min(count, rows / 16 - 2 * inColumn);
    auto at = [&](int i) {
        const bool more = i >= ofFirst;
        return rowTile(more ? i - ofFirst : 2 * inColumn + i) * (a.qkv.ld / TILE_COLS) + firstTile + column + more;
    };
    const int outTiles = width / 16, outFrom = outTiles * rank / blocks, outs = outTiles * (rank + 1) / blocks - outFrom;
    const int firstOut = outFrom + outs * warp / LAYER_WARPS, outCount = outFrom + outs * (warp + 1) / LAYER_WARPS - firstOut;
    PairRing<FMT, STAGES, TILES, decltype(at)> ring(a.qkv, count, at, a.o, firstOut, outCount, cluster * headTiles, headTiles, memory);
    // [block][rows] and [block][head][PART]
    float *sums = reinterpret_cast<float*>(memory + LAYER_WARPS * STAGES * ring.STAGE), *splits = sums + blocks * rows;
    float *vectors = splits + blocks * HEADS * PART, *mine = vectors + rows, *context = mine + HEADS * PART;
    // one after the other: parts of the stream; sums [column tile][rows]; parts of attention [warp][G][PART]
    float* const scratch = context + HEADS * DIM;
    u64* const barriers = shared.barriers;
    if (t == 0) {
        startBarriers(barriers, BARRIERS);
        expect(barriers + ROW, width / TILE_COLS * 8);
        expect(barriers + SUMS, blocks * rows * 4);
        expect(barriers + SPLITS, blocks * HEADS * PART * 4);
    }
    clusterArrive();
    // Behind another layer the sampler has ended, and the sequence is known before the wait.
    const bool behind = a.in.count > 0;
    if (!behind) dependencyWait();
    const Seq seq = a.b.seqs[0];
    const int past = seq.base, length = past + 1, lo = a.window > 0 ? max(0, length - a.window) : 0;
    const int share = (length - lo + blocks - 1) / blocks, from = min(lo + rank * share, length), to = min(from + share, length);
    const long long apart = (long long)a.kvHeads * seq.capacity * DIM; // keys and values
    // Heads that share keys have 8 / sharers warps; of a position a lane takes 8 elements.
    const int LANES = DIM / 8, POSITIONS = 32 / LANES, AHEAD = (DIM == 64 ? 8 : 12) / int(sizeof(T));
    const int sharer = warp & (sharers - 1), e0 = lane % LANES * 8, first = warp / sharers * POSITIONS, step = LAYER_WARPS / sharers * POSITIONS;
    T* const cached = static_cast<T*>(seq.kv) + (a.kvOffset + (long long)(kv0 + sharer) * DIM) * seq.capacity + e0;
    Incoming<FMT, TILES> incoming(a.in, a.norm, firstTile, colTiles * TILE_COLS);
    // A warp makes a head vector of q, k or v, a lane pairs of elements, which rotate together where all of a head does.
    const int PAIRS = DIM / 64;
    const bool plain = a.qNorm.kind == NORM_NONE && a.kNorm.kind == NORM_NONE && (!a.rope.cs || a.rope.rotaryDim == DIM), near = plain && a.rope.interleaved;
    const int element = warp * DIM + (near ? 2 * lane : lane), partner = near ? 1 : DIM / 2, pair = near ? 64 : 32; // to the next one
    const bool made = element < rows;
    float2 bias[PAIRS], angle[PAIRS];
#pragma unroll
    for (int j = 0; j < PAIRS; j++) {
        bias[j] = make_float2(0, 0), angle[j] = make_float2(1, 0);
        if (a.bias && made) {
            const int e = element + j * pair;
            const float* from = a.bias + rowTile(e >> 4) * 16 + (e & 15);
            bias[j] = make_float2(__ldg(from), __ldg(from + partner));
        }
        if (plain && a.rope.cs && warp < HEADS + sharers) angle[j] = __ldcg(a.rope.cs + lane + 32 * j);
    }
    clusterWait();
    if (behind) dependencyWait();

    incoming.cutTo(shared.x, a.in, a.norm, width, cluster == 0, reinterpret_cast<float4*>(scratch), shared.arriving, barriers + ROW);
#pragma unroll 1
    for (int done = 0, c = column; done < count; c++) {
        const int end = done ? count : ofFirst;
        const Operand<FMT> x(shared.x[c]);
        float* const to = scratch + c * rows + (done ? -ofFirst : 2 * inColumn) * 16;
        ring.multiplyFirst(x, done, end, [&](int i, int r, float v) { to[i * 16 + r] = v; });
        done = end;
    }
    dependentsLaunch(); // what the next launch asks for does not stand before these weights
    Eight<T> keys[AHEAD], values[AHEAD]; // under way
    const int end = min(to, past);       // of what is cached
    int next = from + first + lane / LANES;
    auto fetch = [&](int d) {
        keys[d].loadIf(cached + (long long)next * DIM, next < end);
        values[d].loadIf(cached + apart + (long long)next * DIM, next < end);
        next += step;
    };
#pragma unroll
    for (int d = 0; d < AHEAD; d++) keys[d].clear(), values[d].clear(), fetch(d);
    if (t < 2 * sharers) { // what comes after that, while the sums are exchanged
        const int beyond = from + AHEAD * step;
        const T* head = static_cast<T*>(seq.kv) + (a.kvOffset + (long long)(kv0 + t / 2) * DIM) * seq.capacity + (t & 1) * apart;
        if (beyond < end) bringNear(head + (long long)beyond * DIM, (end - beyond) * DIM * int(sizeof(T)));
    }
    __syncthreads();
    if (warp < blocks) { // warp w sends to block w
        const float4* from = reinterpret_cast<const float4*>(scratch);
#pragma unroll 1
        for (int e = lane; e < rows / 4; e += 32) {
            float4 v = from[e];
#pragma unroll
            for (int c = 1; c < TILES; c++) if (c < colTiles) add(v, from[c * (rows / 4) + e]);
            send(reinterpret_cast<float4*>(sums + rank * rows) + e, barriers + SUMS, warp, v);
        }
    }
    const float factor = incoming.factor(a.norm, width, shared.arriving, barriers + ROW);
    awaitBytes(barriers + SUMS);
    if (made) {
#pragma unroll
        for (int j = 0; j < PAIRS; j++) {
            const int e = element + j * pair;
            float2 v = make_float2(0, 0);
#pragma unroll
            for (int b = 0; b < LAYER_BLOCKS; b++) if (b < blocks) v.x += sums[b * rows + e], v.y += sums[b * rows + e + partner];
            v.x = v.x * factor + bias[j].x, v.y = v.y * factor + bias[j].y;
            vectors[e] = v.x * angle[j].x - v.y * angle[j].y;
            vectors[e + partner] = v.y * angle[j].x + v.x * angle[j].y;
        }
    }
    __syncthreads();
    partEnds(a.mark, 0);
    if (!plain) {
        if (warp < HEADS + sharers) prepareHead(vectors + warp * DIM, DIM, warp < HEADS ? a.qNorm : a.kNorm, a.rope);
        __syncthreads();
    }
    float query[G][8], top[G], total[G], acc[G][8];
    auto score = [&](int h, const float* key) { // of a position, in all of its lanes
        float s = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) s += query[h][i] * key[i];
#pragma unroll
        for (int o = LANES / 2; o; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
        return s;
    };
    { // the new position, rounded as the cache holds it, is the first one of a block's first lanes
        const float *key = vectors + (HEADS + sharer) * DIM + e0, *value = key + sharers * DIM;
        const bool newest = from <= past && past < to && first == 0 && lane < LANES;
        Eight<T> k, v;
        k.set(key), v.set(value);
        if (newest && cluster * HEADS % ratio == 0 && past < seq.capacity) k.store(cached + (long long)past * DIM), v.store(cached + apart + (long long)past * DIM);
        float c[8];
        k.floats(c);
#pragma unroll
        for (int h = 0; h < G; h++) {
#pragma unroll
            for (int i = 0; i < 8; i++) query[h][i] = vectors[(sharer * G + h) * DIM + e0 + i] * a.scale * 1.4426950408889634f;
            const float s = score(h, c);
            top[h] = newest ? s : -INFINITY, total[h] = newest;
        }
        v.floats(c);
#pragma unroll
        for (int h = 0; h < G; h++)
#pragma unroll
            for (int i = 0; i < 8; i++) acc[h][i] = newest ? c[i] : 0;
    }
#pragma unroll 1
    for (int at = from + first; at < end;) {
#pragma unroll
        for (int d = 0; d < AHEAD; d++) {
            const bool there = at + lane / LANES < end;
            float c[8], s[G];
            keys[d].floats(c);
#pragma unroll
            for (int h = 0; h < G; h++) s[h] = score(h, c);
            values[d].floats(c);
            fetch(d);
#pragma unroll
            for (int h = 0; h < G; h++) {
                if (!there) s[h] = -INFINITY;
                const float best = fmaxf(top[h], s[h]), safe = best == -INFINITY ? 0.f : best, keep = exp2Fast(top[h] - safe), w = exp2Fast(s[h] - safe);
                top[h] = best, total[h] = total[h] * keep + w;
#pragma unroll
                for (int i = 0; i < 8; i++) acc[h][i] = acc[h][i] * keep + w * c[i];
            }
            at += step;
            if (at >= end) break;
        }
    }
    // the warp's positions at once become one
#pragma unroll
    for (int h = 0; h < G; h++) {
        float best = top[h];
#pragma unroll
        for (int o = LANES; o < 32; o <<= 1) best = fmaxf(best, __shfl_xor_sync(~0u, best, o));
        const float keep = top[h] == -INFINITY ? 0.f : exp2Fast(top[h] - best);
        float sum = total[h] * keep, half[4];
#pragma unroll
        for (int o = LANES; o < 32; o <<= 1) sum += __shfl_xor_sync(~0u, sum, o);
        const bool upper = lane & LANES; // which of the elements a lane keeps
#pragma unroll
        for (int i = 0; i < 4; i++) half[i] = (upper ? acc[h][4 + i] : acc[h][i]) * keep + __shfl_xor_sync(~0u, (upper ? acc[h][i] : acc[h][4 + i]) * keep, LANES);
        float* one = scratch + (warp * G + h) * PART;
        float2* to = reinterpret_cast<float2*>(one + 2 + e0 + (upper ? 4 : 0));
        if (POSITIONS == 4) {
            const bool last = lane & 16;
#pragma unroll
            for (int i = 0; i < 2; i++) half[i] = (last ? half[2 + i] : half[i]) + __shfl_xor_sync(~0u, last ? half[i] : half[2 + i], 16);
            to[last] = make_float2(half[0], half[1]);
        } else {
            to[0] = make_float2(half[0], half[1]), to[1] = make_float2(half[2], half[3]);
        }
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
    if (h < HEADS) { // warps sharer, sharer + sharers, ...
        const float sum = meet(scratch + (h / G * G + h % G) * PART, LAYER_WARPS / sharers, sharers * G * PART, best, all);
        mine[h * PART + 2 + d] = sum;
        if (d < 2) mine[h * PART + d] = d ? all : best;
    }
    __syncthreads();
    if (warp < blocks) {
#pragma unroll 1
        for (int e = lane; e < HEADS * PART / 4; e += 32) {
            send(reinterpret_cast<float4*>(splits + rank * HEADS * PART) + e, barriers + SPLITS, warp, reinterpret_cast<const float4*>(mine)[e]);
        }
    }
    awaitBytes(barriers + SPLITS);
    if (h < HEADS) context[t] = __fdividef(meet(splits + h * PART, blocks, HEADS * PART, best, all), all);
    __syncthreads();
    if (warp < headTiles) cutFrom<FMT>(context + warp * 128, shared.context[warp]);
    __syncthreads();
    partEnds(a.mark, 1);
    ring.multiplySecond(shared.context, [&](int tile, int r, float v) { a.parts[cluster * width + (firstOut + tile) * 16 + r] = v; });
    partEnds(a.mark, 2);
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) // elsewhere they are never launched
#define BODY(FMT, STAGES, T, DIM, G) attend<FMT, STAGES, T, DIM, G, DIM == 64 ? 2 : 6>(a)
#else
#define BODY(FMT, STAGES, T, DIM, G)
#endif
// Kernels of their own: as branches of one they spill. Of those for heads of 128 a multiprocessor has registers for one block, beside one of layer_mlp_quant.cu.
#define KERNEL(NAME, BOUNDS, FMT, STAGES, T, DIM, G) \
    extern "C" __global__ void BOUNDS NAME(const __grid_constant__ LayerAttentionArgs a) { BODY(FMT, STAGES, T, DIM, G); }
#define SMALL __launch_bounds__(LAYER_THREADS, 2)
#define LARGE __maxnreg__(144)
#define KERNELS(NAME, FMT, STAGES, WIDE_STAGES, T) \
    KERNEL(NAME##_1, SMALL, FMT, STAGES, T, 64, 1) KERNEL(NAME##_2, SMALL, FMT, STAGES, T, 64, 2) \
    KERNEL(NAME##_wide_1, LARGE, FMT, WIDE_STAGES, T, 128, 1) KERNEL(NAME##_wide_2, LARGE, FMT, WIDE_STAGES, T, 128, 2)
KERNELS(layer_attention_q8_0_f16, FMT_Q8_0, 2, 1, __half)
KERNELS(layer_attention_q4_0_f16, FMT_Q4_0, 3, 3, __half)
KERNELS(layer_attention_q4_1_f16, FMT_Q4_1, 3, 2, __half)
KERNELS(layer_attention_q8_0_f32, FMT_Q8_0, 2, 1, float)
KERNELS(layer_attention_q4_0_f32, FMT_Q4_0, 3, 3, float)
KERNELS(layer_attention_q4_1_f32, FMT_Q4_1, 3, 2, float)
