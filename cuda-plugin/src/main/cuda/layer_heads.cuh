// Head vectors of one row, as the kernels of whole layers meet them in shared memory and in the cache.
#pragma once
#include "attention.cuh"
#include "plain.cuh"

__device__ __forceinline__ float rounded(float v, float) { return v; }
__device__ __forceinline__ __half rounded(float v, __half) { return __float2half_rn(fminf(fmaxf(v, -65504.f), 65504.f)); }

template <class T> struct Eight { // 8 neighbouring elements of a cache row as they lie there
    static const int VECS = sizeof(T) / 2;
    uint4 v[VECS];
    __device__ __forceinline__ void load(const T* p) {
#pragma unroll
        for (int i = 0; i < VECS; i++) v[i] = reinterpret_cast<const uint4*>(p)[i];
    }
    __device__ __forceinline__ void loadIf(const T* p, bool there) { // past L1
#pragma unroll
        for (int i = 0; i < VECS; i++) {
            asm volatile("{ .reg .pred p; setp.ne.u32 p, %5, 0; @p ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4]; }"
                         : "+r"(v[i].x), "+r"(v[i].y), "+r"(v[i].z), "+r"(v[i].w) : "l"(reinterpret_cast<const uint4*>(p) + i), "r"(u32(there)));
        }
    }
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < VECS; i++) v[i] = make_uint4(0, 0, 0, 0);
    }
    __device__ __forceinline__ void store(T* p) const {
#pragma unroll
        for (int i = 0; i < VECS; i++) reinterpret_cast<uint4*>(p)[i] = v[i];
    }
    __device__ __forceinline__ void set(const float* f) { // as a cache rounds them
        T e[8];
#pragma unroll
        for (int i = 0; i < 8; i++) e[i] = rounded(f[i], T());
#pragma unroll
        for (int i = 0; i < VECS; i++) memcpy(v + i, e + i * (16 / sizeof(T)), 16);
    }
    __device__ __forceinline__ void floats(float f[8]) const {
        if (sizeof(T) == 2) unpack<FMT_F16>(v[0], f);
        else unpack<FMT_F32>(v[0], f), unpack<FMT_F32>(v[sizeof(T) / 2 - 1], f + 4);
    }
};

// A warp's norm and rotation of a head vector in shared memory; out of line, since few models have them.
static __device__ __noinline__ void prepareHead(float* v, int dim, const NormRef& norm, const RopeRef& rope) {
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
