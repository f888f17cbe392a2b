// One row through half of a layer in one launch, weights in 8 or 4 bits: what layer_attention_quant.cu and layer_mlp_quant.cu share.
//
// As layer.cuh, but the tiles of quant.cuh decide how work is cut. The blocks of a cluster share the columns of the stream, TILES column
// tiles each (one or two, or four), so that a block cuts only its own columns into bytes, and their sums of q, k and v, or of hidden units,
// meet in distributed shared memory; after that they share the rows of the output, a warp as many row tiles as its block has column tiles.
// A warp's tiles come, two at a time, through a ring in shared memory of its own, by cp.async: no other warp waits for it, and a ring's
// worth of weights is under way before the wait.
#pragma once
#include "gemv_quant.cuh"
#include "layer.cuh"

// 128 columns of x as integers; scales in the order 0, 2, 1, 3, as products() reads them.
struct Digits { u32 words[4 * BLOCK_WORDS]; float scales[4], sums[4]; };

// A warp cuts 128 neighbouring columns of x, lane l quad l.
template <int FMT> __device__ __forceinline__ void cutTile(const Quad& quad, Digits& to) {
    const int lane = threadIdx.x & 31, block = lane >> 3;
    cut<FMT>(quad, lane, (block & 1) * 2 + (block >> 1), true, to.words, to.scales, to.sums);
}

// What the lane needs of 128 columns of x.
template <int FMT> struct Operand {
    uint2 x[4];
    float2 scale, sum;
    __device__ __forceinline__ explicit Operand(const Digits& d) {
        const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
        const u32* words = d.words + (g & 3) * 8 + t * 2;
#pragma unroll
        for (int b = 0; b < 4; b++) { // columns 0 to 3 of the mma take even blocks, 4 to 7 odd ones; the fourth digit is zero
            x[b] = make_uint2(0, 0);
            if ((g & 3) < 3 && (g >> 2) == (b & 1)) x[b] = *reinterpret_cast<const uint2*>(words + b * BLOCK_WORDS);
        }
        scale = *reinterpret_cast<const float2*>(d.scales + (t >> 1) * 2);
        sum = make_float2(0, 0);
        if (FMT == FMT_Q4_1 && !(t & 1)) sum = *reinterpret_cast<const float2*>(d.sums + (t >> 1) * 2);
    }
};

// What a warp multiplies: first tiles of a matrix, at(i) for i < count, then neighbouring row tiles of another, of some neighbouring
// columns. Pairs of tiles come through a ring in shared memory that is the warp's own. ROWS: how the second matrix's are paired. 2: one row
// tile's columns, or the columns of two row tiles; 4: of two row tiles, then of two more; else two columns of any number of row tiles.
template <int FMT, int STAGES, int ROWS, class At> struct PairRing {
    typedef TileStream<FMT> S;
    static const int BYTES = S::BYTES, SCALE_BYTES = S::SCALE_BYTES, STAGE = 2 * (BYTES + SCALE_BYTES);
    struct Source { // from where the lane reads
        const char *data, *scales;
        int ld; // column tiles
        __device__ __forceinline__ Source(const Weight& w, long long tile) : ld(w.ld / TILE_COLS) {
            const int lane = threadIdx.x & 31;
            data = static_cast<const char*>(w.data) + tile * BYTES + lane * 16;
            scales = static_cast<const char*>(w.scales) + tile * SCALE_BYTES + lane % (SCALE_BYTES / 16) * 16;
        }
    };
    const Source first, second;
    const At at;
    const int count, rows, columns, firstPairs, pairs;
    const bool wide; // two row tiles of the second matrix at once
    char* const memory;
    int asked = 0, slot = 0;

    // Asks for what there is room for. from: the second matrix's first row tile for the warp.
    __device__ __forceinline__ PairRing(const Weight& a, int count, At at, const Weight& b, int from, int rows, int firstColumn, int columns, void* memory)
        : first(a, 0), second(b, (long long)from * (b.ld / TILE_COLS) + firstColumn), at(at), count(count), rows(rows), columns(columns), firstPairs((count + 1) / 2),
          pairs(firstPairs + (ROWS > 4 ? rows : ROWS == 4 ? 2 * columns : rows == 2 ? columns : (columns + 1) / 2)), wide(ROWS == 4 || (ROWS == 2 && rows == 2)),
          memory(static_cast<char*>(memory) + (threadIdx.x >> 5) * (STAGES * STAGE)) {
#pragma unroll 1
        for (int s = 0; s < STAGES; s++) ask(s);
    }
    // Asks for the next pair; of an odd number the last tile twice.
    __device__ __forceinline__ void ask(int slot) {
        const int lane = threadIdx.x & 31;
        if (asked < pairs) {
            const bool one = asked < firstPairs;
            const int i = asked - firstPairs;
            const char *data = one ? first.data : second.data, *scales = one ? first.scales : second.scales;
            int even, odd;
            if (one) even = at(2 * asked), odd = at(min(2 * asked + 1, count - 1));
            else if (ROWS > 4) even = i * second.ld, odd = even + 1;
            else if (ROWS == 4) even = i < columns ? i : i - columns + 2 * second.ld, odd = even + second.ld;
            else even = wide ? i : 2 * i, odd = wide ? second.ld + i : min(2 * i + 1, columns - 1);
            const u32 to = u32(__cvta_generic_to_shared(memory)) + slot * STAGE + lane * 16;
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const char* from = data + (long long)(h ? odd : even) * BYTES;
#pragma unroll
                for (int v = 0; v < BYTES / 512; v++) copy(to + h * BYTES + v * 512, from + v * 512);
            }
            const int L = SCALE_BYTES / 16;
            if (lane < 2 * L) copy(to + 2 * BYTES, scales + (long long)(lane < L ? even : odd) * SCALE_BYTES);
        }
        asked++;
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    // Weights are read once: they are the first to leave the L2.
    static __device__ __forceinline__ void copy(u32 to, const void* from) {
        u64 policy;
        asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
        asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "l"(policy) : "memory");
    }
    // The next pair.
    __device__ __forceinline__ void take(Tile<FMT> t[2]) {
        const int lane = threadIdx.x & 31;
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 1) : "memory");
        __syncwarp();
        const char* from = memory + slot * STAGE;
#pragma unroll
        for (int h = 0; h < 2; h++) {
#pragma unroll
            for (int v = 0; v < Tile<FMT>::VECS; v++) t[h].q[v] = *reinterpret_cast<const uint4*>(from + h * BYTES + v * 512 + lane * 16);
            const char* s = from + 2 * BYTES + h * SCALE_BYTES + (lane >> 2) * (SCALE_BYTES / 16);
#pragma unroll
            for (int r = 0; r < 2; r++) {
                const int W = Tile<FMT>::SCALE_WORDS;
#pragma unroll
                for (int w = 0; w < W; w += 2) {
                    const uint2 p = *reinterpret_cast<const uint2*>(s + r * (SCALE_BYTES / 2) + w * 4);
                    t[h].s[r * W + w] = p.x, t[h].s[r * W + w + 1] = p.y;
                }
            }
        }
        __syncwarp();
        ask(slot);
        if (++slot == STAGES) slot = 0;
    }
    // Sums of both tiles, which four lanes share: to lane t row 2 g + (t >> 1) of tile t & 1.
    static __device__ __forceinline__ float meet(float acc[2][2]) {
        const int t = threadIdx.x & 3;
        const bool h = t & 1, r = t >> 1;
        const float weight = h ? 65536.f : 1.f; // of the lane's bytes
        float *a = acc[0], *b = acc[1];
        a[0] *= weight, a[1] *= weight, b[0] *= weight, b[1] *= weight;
        const float even = (h ? b[0] : a[0]) + __shfl_xor_sync(~0u, h ? a[0] : b[0], 1);
        const float odd = (h ? b[1] : a[1]) + __shfl_xor_sync(~0u, h ? a[1] : b[1], 1);
        return (r ? odd : even) + __shfl_xor_sync(~0u, r ? even : odd, 2);
    }
    static __device__ __forceinline__ int tileOfLane() { return threadIdx.x & 1; }
    static __device__ __forceinline__ int rowOfLane() { return (threadIdx.x & 31) / 4 * 2 + (threadIdx.x >> 1 & 1); }
    // The next of the first matrix's tiles, up to tile `end`, times x: out(tile, row of the tile, sum), a row a lane.
    template <class Out> __device__ __forceinline__ void multiplyFirst(const Operand<FMT>& x, int begin, int end, Out out) {
        const bool second = threadIdx.x & 2;
#pragma unroll 1
        for (int i = begin; i < end; i += 2) {
            Tile<FMT> tiles[2];
            take(tiles);
            float acc[2][2] = {};
#pragma unroll
            for (int h = 0; h < 2; h++) products(tiles[h], x.x, x.scale, x.sum, second, acc[h]);
            const float v = meet(acc);
            if (i + tileOfLane() < end) out(i + tileOfLane(), rowOfLane(), v);
        }
    }
    // The second matrix's times x[column]: out(row tile, row of the tile, sum), a row a lane.
    template <class Out> __device__ __forceinline__ void multiplySecond(const Digits* x, Out out) {
        const bool second = threadIdx.x & 2;
        const int turns = ROWS > 4 ? rows : ROWS / 2;
#pragma unroll 1
        for (int turn = 0; turn < turns; turn++) {
            float acc[2][2] = {};
#pragma unroll 1
            for (int i = 0; i < columns; i += wide ? 1 : 2) {
                Tile<FMT> tiles[2];
                take(tiles);
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    if (h && !wide && i + 1 == columns) break;
                    const Operand<FMT> one(x[i + (h && !wide)]);
                    products(tiles[h], one.x, one.scale, one.sum, second, acc[h]);
                }
            }
            if (!wide) acc[0][0] += acc[1][0], acc[0][1] += acc[1][1];
            const float v = meet(acc);
            const int tile = (wide ? 2 * turn : turn) + tileOfLane();
            if (wide || tileOfLane() == 0) out(tile, rowOfLane(), v);
        }
    }
};

// How `count` row tiles of `columns` column tiles are shared out among the warps: a warp has one column.
struct WarpTiles {
    int column, from, count;
    __device__ __forceinline__ WarpTiles(int rows, int columns) {
        const int warp = threadIdx.x >> 5, shift = columns > 4 ? 3 : columns > 2 ? 2 : columns - 1, each = (rows + (8 >> shift) - 1) >> (3 - shift);
        column = warp & ((1 << shift) - 1), from = (warp >> shift) * each;
        count = column < columns ? max(0, min(each, rows - from)) : 0;
    }
};

template <int TILES> struct Arriving { // of the stream's column tiles: mean, squares of the differences
    static const int MOST = TILES > 2 ? 32 : 16;
    float2 stats[MOST];
};
// The block's columns of the stream, summed up, normalized (but for the factor of a root mean square) and cut into bytes.
template <int FMT, int TILES> struct Incoming {
    Quad bias, gain, offset; // what does not depend on the kernels before; of warps with a column tile
    int column, columns, at; // the block's first column tile; its columns; the warp's first column

    __device__ __forceinline__ Incoming(const ResidualRef& r, const NormRef& norm, int column, int columns) : column(column), columns(columns) {
        const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, have = warp * 128 < columns ? 128 : 0;
        at = column * 128 + warp * 128;
        bias = {0, 0, 0, 0}, offset = bias;
        if (r.bias) bias.load(r.bias + at, lane, have, false);
        gain.load(norm.w + at, lane, have, false);
        if (norm.kind == NORM_LAYER && norm.b) offset.load(norm.b + at, lane, have, false);
    }
    // After both waits. slots: of 256. Ends with a barrier of the block. Statistics arrive in every block.
    __device__ __forceinline__ void cutTo(Digits* to, const ResidualRef& r, const NormRef& norm, int width, bool keep, float4* slots, Arriving<TILES>& arriving, u64* arrived) {
        const int t = threadIdx.x, warp = t >> 5, lane = t & 31, shift = TILES > 4 ? 8 : TILES > 2 ? 7 : columns > 128 ? 6 : 5, groups = LAYER_THREADS >> shift, group = t >> shift;
        const float4* part = reinterpret_cast<const float4*>(r.parts + column * 128) + (t & ((1 << shift) - 1));
        Quad x;
        x.load(r.x + at, lane, warp * 128 < columns ? 128 : 0, true);
        const int EACH = TILES > 4 ? 16 : TILES > 2 ? 8 : 4; // parts
        float4 v[EACH];
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int p = group + i * groups;
            v[i] = make_float4(0, 0, 0, 0);
            if (p < r.count && (TILES <= 4 || 4 * t < columns)) v[i] = __ldcg(part + p * (r.ld / 4));
        }
#pragma unroll
        for (int n = 1; n < EACH; n *= 2)
#pragma unroll
            for (int i = 0; i < EACH; i += 2 * n) add(v[i], v[i + n]);
        slots[t] = v[0];
        __syncthreads();
        if (warp * 128 < columns) {
            const float* from = reinterpret_cast<const float*>(slots) + warp * 128 + Quad::column(lane);
#pragma unroll
            for (int e = 0; e < 4; e++) x.v[e] += bias.v[e];
#pragma unroll 4
            for (int i = 0; i < groups; i++) {
                const float2 a = *reinterpret_cast<const float2*>(from + i * columns), b = *reinterpret_cast<const float2*>(from + i * columns + 8);
                x.v[0] += a.x, x.v[1] += a.y, x.v[2] += b.x, x.v[3] += b.y;
            }
            if (keep) {
                float2* sum = reinterpret_cast<float2*>(r.sum + at + Quad::column(lane));
                sum[0] = make_float2(x.v[0], x.v[1]), sum[4] = make_float2(x.v[2], x.v[3]);
            }
            if (norm.kind == NORM_LAYER) {
                tell(x, warpSum(x.sum()) * (1.f / 128), arriving, arrived);
                const float2 s = statistics(width, arriving, arrived);
                const float scale = rsqrtf(s.y + norm.eps);
#pragma unroll
                for (int e = 0; e < 4; e++) x.v[e] = (x.v[e] - s.x) * scale * gain.v[e] + offset.v[e];
                cutTile<FMT>(x, to[warp]);
            } else {
                Quad y;
#pragma unroll
                for (int e = 0; e < 4; e++) y.v[e] = x.v[e] * gain.v[e];
                cutTile<FMT>(y, to[warp]);
            }
        }
        __syncthreads();
        if (norm.kind != NORM_LAYER && warp * 128 < columns) tell(x, 0, arriving, arrived); // needed only at the end
    }
    // Mean and squares of the warp's columns to every block.
    __device__ __forceinline__ void tell(const Quad& x, float mean, Arriving<TILES>& arriving, u64* arrived) const {
        const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
        const float squares = warpSum(x.squares(mean));
        if (lane >= int(gridDim.z)) return;
        float* stats = &arriving.stats[column + warp].x;
        send(stats, arrived, lane, mean);
        send(stats + 1, arrived, lane, squares);
    }
    // Mean and variance of the stream.
    static __device__ __forceinline__ float2 statistics(int width, const Arriving<TILES>& arriving, u64* arrived) {
        const int MOST = Arriving<TILES>::MOST, lane = threadIdx.x & (MOST - 1), tiles = width / 128;
        awaitBytes(arrived);
        float2 s = lane < tiles ? arriving.stats[lane] : make_float2(0, 0);
        float mean = s.x;
#pragma unroll
        for (int o = MOST / 2; o; o >>= 1) mean += __shfl_xor_sync(~0u, mean, o);
        mean = __fdividef(mean, float(tiles));
        float squares = lane < tiles ? s.y + 128 * (s.x - mean) * (s.x - mean) : 0.f;
#pragma unroll
        for (int o = MOST / 2; o; o >>= 1) squares += __shfl_xor_sync(~0u, squares, o);
        return make_float2(mean, __fdividef(squares, float(width)));
    }
    // What sums still lack.
    static __device__ __forceinline__ float factor(const NormRef& norm, int width, const Arriving<TILES>& arriving, u64* arrived) {
        return norm.kind == NORM_RMS ? rsqrtf(statistics(width, arriving, arrived).y + norm.eps) : 1.f;
    }
};

// The copy engine brings bytes as far as the L2, both 16-byte aligned.
__device__ __forceinline__ void bringNear(const void* from, u32 bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
#endif
}

// 128 columns from shared memory, cut by a warp.
template <int FMT> __device__ __forceinline__ void cutFrom(const float* x, Digits& to) {
    const float* from = x + Quad::column(threadIdx.x & 31);
    const float2 a = *reinterpret_cast<const float2*>(from), b = *reinterpret_cast<const float2*>(from + 8);
    cutTile<FMT>({a.x, a.y, b.x, b.y}, to);
}
