// One row through half of a transformer layer in one launch: what layer_attention.cu and layer_mlp.cu share.
//
// A decode step of a small model is not bytes but phases: each costs a launch, staging and a tail. So 8 blocks are a cluster that
// takes a head, or some hidden units, through everything up to its part of the output. What the blocks make for each other meets
// in distributed shared memory. The parts of all clusters are summed up, in order, by whoever reads the stream next. All weights are
// under way into shared memory before the wait. The code is run once and read from memory as it runs, so its length is time.
#pragma once
#include "cluster.cuh"
#include "layer_abi.cuh"
#include "plain.cuh"

#define LAYER_THREADS 256
#define LAYER_WARPS 8
#define LAYER_BLOCKS 8 // of a cluster; rows of every matrix are shared out among them
#define LAYER_WIDTH 1024 // of the stream, at most: 128 columns a block, four a lane
#define LAYER_PARTS 32 // at most
#define AT_ONCE 4 // rows of a warp, or of 8 lanes

// Barriers that count bytes. One thread starts them, and says before clusterArrive() what the first turn of each will bring.
__device__ __forceinline__ void startBarriers(u64* barriers, int n) {
#if __CUDA_ARCH__ >= 900
    for (int i = 0; i < n; i++) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(u32(__cvta_generic_to_shared(barriers + i))) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
__device__ __forceinline__ void expect(u64* barrier, u32 bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(u32(__cvta_generic_to_shared(barrier))), "r"(bytes) : "memory");
#endif
}
// Sends v to where block `rank` of the cluster has what lies at p here, 16-byte aligned.
__device__ __forceinline__ void send(float4* p, u64* barrier, u32 rank, float4 v) {
#if __CUDA_ARCH__ >= 900
    u32 to, counter;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(u32(__cvta_generic_to_shared(p))), "r"(rank));
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(counter) : "r"(u32(__cvta_generic_to_shared(barrier))), "r"(rank));
    asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];"
                 ::"r"(to), "r"(__float_as_uint(v.x)), "r"(__float_as_uint(v.y)), "r"(__float_as_uint(v.z)), "r"(__float_as_uint(v.w)), "r"(counter) : "memory");
#endif
}
// The copy engine brings bytes from global to shared memory, both 16-byte aligned.
__device__ __forceinline__ void bring(void* to, const void* from, u32 bytes, u64* barrier) {
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 ::"r"(u32(__cvta_generic_to_shared(to))), "l"(from), "r"(bytes), "r"(u32(__cvta_generic_to_shared(barrier))) : "memory");
#endif
}
// The same for weights, which pass through the L2 without taking the place of what is read again.
__device__ __forceinline__ void bringWeights(void* to, const void* from, u32 bytes, u64* barrier) {
#if __CUDA_ARCH__ >= 900
    asm volatile("{ .reg .b64 once; createpolicy.fractional.L2::evict_first.b64 once, 1.0;"
                 "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], once; }"
                 ::"r"(u32(__cvta_generic_to_shared(to))), "l"(from), "r"(bytes), "r"(u32(__cvta_generic_to_shared(barrier))) : "memory");
#endif
}

// Where four columns lie in a vector of `width` in shared memory: in planes, of 8 columns the first four of all come first.
template <int FMT> __device__ __forceinline__ int place(int quad, int width) {
    return Vec<FMT>::PLANES == 2 ? (quad & 1) * (width / 8) + (quad >> 1) : quad;
}
template <int FMT> __device__ __forceinline__ float* placeOf(float4* x, int column, int width) {
    return reinterpret_cast<float*>(x + place<FMT>(column / 4, width)) + (column & 3);
}

// The end of a part of the launch.
__device__ __forceinline__ void partEnds(u64* mark, int part) { Mark end{mark ? mark + part : nullptr}; }

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
struct Stream {
    float2 stats[LAYER_BLOCKS]; // of every block's columns: mean, squares of the differences
    float4 slots[LAYER_WARPS][32];
};
template <int FMT> struct Normalized {
    float4 bias, gain, offset; // what does not depend on the kernels before
    float inverse;
    int per, at; // columns of a block; the lane's first one
    bool in;

    __device__ __forceinline__ Normalized(const ResidualRef& r, const NormRef& norm, int width) {
        const int lane = threadIdx.x & 31, c = threadIdx.x * 4;
        inverse = __fdividef(1.f, float(width));
        per = width / LAYER_BLOCKS, at = blockIdx.z * per + lane * 4, in = lane * 4 < per;
        bias = offset = gain = make_float4(0, 0, 0, 0);
        if (in && r.bias) bias = __ldg(reinterpret_cast<const float4*>(r.bias + at));
        if (c < width) {
            gain = __ldg(reinterpret_cast<const float4*>(norm.w + c));
            if (norm.b) offset = __ldg(reinterpret_cast<const float4*>(norm.b + c));
        }
    }
    static __device__ __forceinline__ u32 bytes(int width) { return width * 4 + LAYER_BLOCKS * 8; }
    // After both waits. Ends with a barrier of the block.
    __device__ __forceinline__ void bringTo(float4* x, const ResidualRef& r, const NormRef& norm, int width, bool keep, Stream& s, u64* arrived) {
        const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
        const float4 v = columnsOf(r, at, in, bias, s.slots);
        if (in) send(x + place<FMT>(at / 4, width), arrived, warp, v); // warp w sends to block w
        const float mean = warpSum(in ? (v.x + v.y) + (v.z + v.w) : 0.f) * inverse * LAYER_BLOCKS;
        const float a = v.x - mean, b = v.y - mean, c = v.z - mean, d = v.w - mean;
        const float squares = warpSum(in ? (a * a + b * b) + (c * c + d * d) : 0.f);
        if (lane < 2) send(&s.stats[blockIdx.z].x + lane, arrived, warp, lane ? squares : mean);
        if (keep && in && warp == 0) *reinterpret_cast<float4*>(r.sum + at) = v;
        awaitBytes(arrived);
        float m = 0, sq = 0;
        if (norm.kind == NORM_LAYER) {
#pragma unroll
            for (int i = 0; i < LAYER_BLOCKS; i++) m += s.stats[i].x;
            m *= 1.f / LAYER_BLOCKS;
        }
#pragma unroll
        for (int i = 0; i < LAYER_BLOCKS; i++) sq += s.stats[i].y + per * (s.stats[i].x - m) * (s.stats[i].x - m);
        const float scale = rsqrtf(sq * inverse + norm.eps);
        if (int(threadIdx.x) * 4 < width) {
            float4& y = x[place<FMT>(threadIdx.x, width)];
            y = make_float4((y.x - m) * scale * gain.x + offset.x, (y.y - m) * scale * gain.y + offset.y,
                            (y.z - m) * scale * gain.z + offset.z, (y.w - m) * scale * gain.w + offset.w);
        }
        __syncthreads();
    }
};

// A lane's share of rows `row` .. row + R - 1 (none past `last`) times x; LANES share a row of so many vectors.
template <int FMT, int LANES, int R>
__device__ __forceinline__ void dotRows(const uint4* w, int row, int last, int vecs, const float4* x, float acc[R]) {
    const int PLANES = Vec<FMT>::PLANES;
    const uint4* rows[R];
#pragma unroll
    for (int q = 0; q < R; q++) rows[q] = w + min(row + q, last) * vecs, acc[q] = 0;
#pragma unroll 1
    for (int v = threadIdx.x % LANES; v < vecs; v += LANES) {
        float4 xs[PLANES];
        uint4 raw[R];
#pragma unroll
        for (int q = 0; q < R; q++) raw[q] = rows[q][v];
#pragma unroll
        for (int p = 0; p < PLANES; p++) xs[p] = x[p * vecs + v];
#pragma unroll
        for (int q = 0; q < R; q++) {
            float f[Vec<FMT>::N];
            unpack<FMT>(raw[q], f);
#pragma unroll
            for (int p = 0; p < PLANES; p++) {
                acc[q] += f[4 * p] * xs[p].x;
                acc[q] += f[4 * p + 1] * xs[p].y;
                acc[q] += f[4 * p + 2] * xs[p].z;
                acc[q] += f[4 * p + 3] * xs[p].w;
            }
        }
    }
}

// Rows for all blocks of the cluster: f(row, sum), a lane for each of the 8 to which it goes; gated: sums of even rows, and g the next
// row's. A warp takes `each` neighbouring rows.
template <int FMT, class Out>
__device__ __forceinline__ void multiplyForAll(const uint4* w, int rows, int each, int vecs, const float4* x, Out out) {
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
#pragma unroll 1
    for (int q0 = 0; q0 < each; q0 += AT_ONCE) {
        float acc[AT_ONCE];
        dotRows<FMT, 32, AT_ONCE>(w, warp * each + q0, rows - 1, vecs, x, acc);
        // row q's sum ends up in lanes 8 q ..
        const bool high = lane & 16, odd = lane & 8;
        const float a = (high ? acc[2] : acc[0]) + __shfl_xor_sync(~0u, high ? acc[0] : acc[2], 16);
        const float b = (high ? acc[3] : acc[1]) + __shfl_xor_sync(~0u, high ? acc[1] : acc[3], 16);
        float v = (odd ? b : a) + __shfl_xor_sync(~0u, odd ? a : b, 8);
#pragma unroll
        for (int o = 4; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
        const int q = q0 + (lane >> 3), row = warp * each + q;
        out(min(row, rows - 1), v, q < each && row < rows);
    }
}
// Rows of this block alone, at most 128: 8 lanes share a row.
template <int FMT, int R> __device__ __forceinline__ void multiplyOwnRows(const uint4* w, int rows, int vecs, const float4* x, float* y) {
    const int row = (threadIdx.x >> 3) * R, sub = threadIdx.x & 7;
    float acc[R];
    dotRows<FMT, 8, R>(w, row, rows - 1, vecs, x, acc);
    float v = 0;
#pragma unroll
    for (int q = 0; q < R; q++) {
#pragma unroll
        for (int o = 4; o; o >>= 1) acc[q] += __shfl_xor_sync(~0u, acc[q], o);
        if (sub == q) v = acc[q];
    }
    if (sub < R && row + sub < rows) y[row + sub] = v;
}
template <int FMT> __device__ __forceinline__ void multiplyOwn(const uint4* w, int rows, int vecs, const float4* x, float* y) {
    if (rows <= 96) multiplyOwnRows<FMT, 3>(w, rows, vecs, x, y);
    else multiplyOwnRows<FMT, 4>(w, rows, vecs, x, y);
}
