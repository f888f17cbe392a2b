// What the attention kernels share: one head's vector with its norm and rotation, and where keys and values lie.
#pragma once
#include "common.cuh"

#define MAX_HEAD_DIM 256

// Cosines and sines of a row for the pairs that a lane rotates.
struct Rotation {
    float2 c[MAX_HEAD_DIM / 64];
    __device__ __forceinline__ void load(const RopeRef& rope, int row) {
        const float2* cs = rope.cs + (long long)row * rope.ldcs;
        const int half = rope.cs ? rope.rotaryDim / 2 : 0;
#pragma unroll
        for (int i = 0; i < MAX_HEAD_DIM / 64; i++) {
            int j = (threadIdx.x & 31) + 32 * i;
            c[i] = j < half ? __ldcg(cs + j) : make_float2(1, 0);
        }
    }
};

// A warp brings head vector src[0..dim) into dst (shared memory): normalized, rotated.
__device__ __forceinline__ void headVector(const void* src, long long offset, int fmt, int dim, const NormRef& norm,
                                           const RopeRef& rope, bool rotate, const Rotation& rotation, float* dst) {
    const int lane = threadIdx.x & 31;
    float v[MAX_HEAD_DIM / 32], sum = 0;
#pragma unroll
    for (int i = 0; i < MAX_HEAD_DIM / 32; i++) {
        int d = lane + 32 * i;
        v[i] = 0;
        if (d < dim) v[i] = fmt == FMT_F32 ? __ldcg(static_cast<const float*>(src) + offset + d) : loadAs(src, offset + d, fmt);
        sum += v[i];
    }
    if (norm.kind != NORM_NONE) {
        float mean = norm.kind == NORM_LAYER ? warpSum(sum) / dim : 0.f, sq = 0;
#pragma unroll
        for (int i = 0; i < MAX_HEAD_DIM / 32; i++) {
            if (lane + 32 * i < dim) sq += (v[i] - mean) * (v[i] - mean);
        }
        float scale = 1.f / sqrtf(warpSum(sq) / dim + norm.eps);
#pragma unroll
        for (int i = 0; i < MAX_HEAD_DIM / 32; i++) {
            int d = lane + 32 * i;
            if (d < dim) v[i] = (v[i] - mean) * scale * norm.w[d] + (norm.b ? norm.b[d] : 0.f);
        }
    }
#pragma unroll
    for (int i = 0; i < MAX_HEAD_DIM / 32; i++) {
        if (lane + 32 * i < dim) dst[lane + 32 * i] = v[i];
    }
    __syncwarp();
    if (!rotate || !rope.cs) return;
    const int half = rope.rotaryDim / 2;
#pragma unroll
    for (int i = 0; i < MAX_HEAD_DIM / 64; i++) {
        const int j = lane + 32 * i;
        if (j >= half) break;
        int p = rope.interleaved ? 2 * j : j, q = rope.interleaved ? p + 1 : p + half;
        float2 r = rotation.c[i];
        float x = dst[p], y = dst[q];
        dst[p] = x * r.x - y * r.y;
        dst[q] = y * r.x + x * r.y;
    }
    __syncwarp();
}

// Element offset of a kv head's keys in its session's cache; values lie kvHeads * capacity * headDim further.
__device__ __forceinline__ long long keyOffset(const AttentionArgs& a, const Seq& seq, int kvHead) {
    return a.kvOffset * seq.capacity + (long long)kvHead * seq.capacity * a.headDim;
}
__device__ __forceinline__ long long valueDistance(const AttentionArgs& a, const Seq& seq) {
    return (long long)a.kvHeads * seq.capacity * a.headDim;
}

struct Source { // queries, keys or values of one head: element (p, d) at base + p * stride + d
    const void* data;
    long long base, stride;
    int fmt;
};

__device__ __forceinline__ float exp2Fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
