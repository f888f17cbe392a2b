// One row through half of a transformer layer in one launch: what layer_attention.cu and layer_mlp.cu share.
//
// A decode step of a small model is not bytes but phases: each costs a launch, staging and a tail. So 8 blocks are a cluster that
// takes a head, or some hidden units, through everything up to its part of the output. What the blocks make for each other meets
// in distributed shared memory. The parts of all clusters are summed up, in order, by whoever reads the stream next. All weights are
// under way into shared memory before the wait.
#pragma once
#include "cluster.cuh"

#define LAYER_THREADS 256
#define LAYER_WARPS 8
#define LAYER_BLOCKS 8 // of a cluster; rows of every matrix are shared out among them
#define LAYER_WIDTH 1024 // of the stream, at most: 128 columns a block, four a lane
#define LAYER_PARTS 32 // at most

template <int FMT> struct Vec { static const int N = FMT == FMT_F32 ? 4 : 8, PLANES = N / 4, BYTES = 16 / N; };

__device__ __forceinline__ void add(float4& a, float4 b) { a.x += b.x, a.y += b.y, a.z += b.z, a.w += b.w; }

// Four columns of a residual stream from `at` on, summed up by the warps of the block; in every warp.
__device__ __forceinline__ float4 columnsOf(const ResidualRef& r, int at, bool in, float4 bias, float4 (*slots)[32]) {
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    float4 v[LAYER_PARTS / LAYER_WARPS];
#pragma unroll
    for (int i = 0; i < LAYER_PARTS / LAYER_WARPS; i++) {
        const int p = warp + i * LAYER_WARPS;
        v[i] = make_float4(0, 0, 0, 0);
        if (in && p < r.count) v[i] = __ldcg(reinterpret_cast<const float4*>(r.parts + p * r.ld + at));
    }
    if (warp == LAYER_WARPS - 1) {
        if (in) add(bias, __ldcg(reinterpret_cast<const float4*>(r.x + at)));
        add(v[0], bias);
    }
#pragma unroll
    for (int i = 1; i < LAYER_PARTS / LAYER_WARPS; i++) add(v[0], v[i]);
    slots[warp][lane] = v[0];
    __syncthreads();
    float4 sum = slots[0][lane];
#pragma unroll
    for (int w = 1; w < LAYER_WARPS; w++) add(sum, slots[w][lane]);
    return sum;
}

// The stream's row, normalized, in the shared memory of every block of the cluster.
template <int FMT> struct Stream {
    float4 bias, gain, offset; // what does not depend on the kernels before
    float4* x;                 // in planes: of 8 columns, the first four of all come first
    float2* stats;             // of every block's columns: mean, squares of the differences
    float4 (*slots)[32];
    u64* arrived;
    int per, at; // columns of a block; the lane's first one
    bool in;

    static __device__ __forceinline__ int place(int quad, int width) {
        return Vec<FMT>::PLANES == 2 ? (quad & 1) * (width / 8) + (quad >> 1) : quad;
    }
    __device__ __forceinline__ void prepare(const ResidualRef& r, const NormRef& norm, int width) {
        const int lane = threadIdx.x & 31, c = threadIdx.x * 4;
        per = width / LAYER_BLOCKS, at = blockIdx.z * per + lane * 4, in = lane * 4 < per;
        bias = offset = gain = make_float4(0, 0, 0, 0);
        if (in && r.bias) bias = __ldg(reinterpret_cast<const float4*>(r.bias + at));
        if (c < width) {
            gain = __ldg(reinterpret_cast<const float4*>(norm.w + c));
            if (norm.b) offset = __ldg(reinterpret_cast<const float4*>(norm.b + c));
        }
    }
    static __device__ __forceinline__ u32 bytes(int width) { return width * 4 + LAYER_BLOCKS * 8; }
    // After the wait. Ends with a barrier of the block.
    __device__ __forceinline__ void bringNormalized(const ResidualRef& r, const NormRef& norm, int width, bool keep) {
        const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
        const float4 v = columnsOf(r, at, in, bias, slots);
        if (keep && in && warp == 0) *reinterpret_cast<float4*>(r.sum + at) = v;
        clusterWait(); // every block has started
        if (in) send(x + place(at / 4, width), arrived, warp, v); // warp w sends to block w
        const float mean = __fdividef(warpSum(in ? (v.x + v.y) + (v.z + v.w) : 0.f), float(per));
        const float p = v.x - mean, q = v.y - mean, s = v.z - mean, t = v.w - mean;
        const float squares = warpSum(in ? (p * p + q * q) + (s * s + t * t) : 0.f);
        if (lane < 2) send(&stats[blockIdx.z].x + lane, arrived, warp, lane ? squares : mean);
        awaitBytes(arrived);
        float m = 0, sq = 0;
        if (norm.kind == NORM_LAYER) {
#pragma unroll
            for (int i = 0; i < LAYER_BLOCKS; i++) m += stats[i].x;
            m *= 1.f / LAYER_BLOCKS;
        }
#pragma unroll
        for (int i = 0; i < LAYER_BLOCKS; i++) sq += stats[i].y + per * (stats[i].x - m) * (stats[i].x - m);
        const float scale = rsqrtf(__fdividef(sq, float(width)) + norm.eps);
        if (int(threadIdx.x) * 4 < width) {
            float4& y = x[place(threadIdx.x, width)];
            y = make_float4((y.x - m) * scale * gain.x + offset.x, (y.y - m) * scale * gain.y + offset.y,
                            (y.z - m) * scale * gain.z + offset.z, (y.w - m) * scale * gain.w + offset.w);
        }
        __syncthreads();
    }
};

template <int FMT> __device__ __forceinline__ void unpack(uint4 v, float* f) {
    if (FMT == FMT_F32) {
        f[0] = asFloat(v.x), f[1] = asFloat(v.y), f[2] = asFloat(v.z), f[3] = asFloat(v.w);
    } else {
        const u32 w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float2 p = FMT == FMT_F16 ? f16Pair(w[i]) : bf16Pair(w[i]);
            f[2 * i] = p.x, f[2 * i + 1] = p.y;
        }
    }
}

// Lanes that share a row of so many vectors, as a power of 2.
__device__ __forceinline__ int lanesOf(int vecs) { return min(5, 32 - __clz(vecs - 1)); }

// Rows in shared memory, `stride` vectors apart, times x (in planes): out(row, sum, sum of the row after it), in all lanes of a row.
template <int FMT, class Out>
__device__ __forceinline__ void multiplyRows(const uint4* w, int stride, int rows, int vecs, const float4* x, bool pairs, Out out) {
    const int AT = 4, PLANES = Vec<FMT>::PLANES, log = lanesOf(vecs), lanes = 1 << log;
    const int group = ((threadIdx.x >> 5) << (5 - log)) + ((threadIdx.x & 31) >> log), sub = threadIdx.x & (lanes - 1);
    int each = (rows + (LAYER_THREADS >> log) - 1) >> (8 - log); // consecutive rows of a group of lanes
    if (pairs) each = (each + 1) & ~1;
#pragma unroll 1
    for (int q0 = 0; q0 < each; q0 += AT) {
        const int row = group * each + q0, live = min(each - q0, rows - row);
        float acc[AT] = {};
#pragma unroll 1
        for (int v = sub; v < vecs; v += lanes) {
            float4 xs[PLANES];
#pragma unroll
            for (int p = 0; p < PLANES; p++) xs[p] = x[p * vecs + v];
#pragma unroll
            for (int q = 0; q < AT; q++) {
                if (q >= live) continue;
                float f[Vec<FMT>::N];
                unpack<FMT>(w[(row + q) * stride + v], f);
#pragma unroll
                for (int p = 0; p < PLANES; p++) {
                    acc[q] += f[4 * p] * xs[p].x;
                    acc[q] += f[4 * p + 1] * xs[p].y;
                    acc[q] += f[4 * p + 2] * xs[p].z;
                    acc[q] += f[4 * p + 3] * xs[p].w;
                }
            }
        }
#pragma unroll 1
        for (int o = lanes / 2; o; o >>= 1) {
#pragma unroll
            for (int q = 0; q < AT; q++) acc[q] += __shfl_xor_sync(~0u, acc[q], o);
        }
#pragma unroll
        for (int q = 0; q < AT; q++) {
            if (q < live) out(row + q, acc[q], q + 1 < AT ? acc[q + 1] : 0.f);
        }
    }
}
