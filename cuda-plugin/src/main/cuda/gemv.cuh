// What the matrix-vector kernels share: staging the (normalized) input in shared memory, and the epilogue.
#pragma once
#include "common.cuh"

#define GEMV_THREADS 256
#define GEMV_WARPS (GEMV_THREADS / 32)

__device__ __forceinline__ u32 dynamicShared() {
    u32 bytes;
    asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(bytes));
    return bytes;
}

// Reads one row of x and calls put(k, value) for k < ld: normalized, zero past the row's end. Every block does this for
// itself: re-reading 4..44 KB from L2 costs less than a phase of its own would (1.7-2.5 us). Reads bypass L1, which may
// hold what an earlier kernel of the chain saw.
template <class Put> __device__ __forceinline__ void stageRow(const LinearArgs& a, int m, float* shared, Put put) {
    const float* x = static_cast<const float*>(a.x) + (long long)m * a.ldx;
    int k = a.w.k;
    if (a.norm.kind == NORM_NONE) {
        for (int c = threadIdx.x * 4; c < a.w.ld; c += GEMV_THREADS * 4) {
            float4 v = c + 4 <= a.ldx ? __ldcg(reinterpret_cast<const float4*>(x + c)) : make_float4(0, 0, 0, 0);
            put(c, c < k ? v.x : 0, c + 1 < k ? v.y : 0, c + 2 < k ? v.z : 0, c + 3 < k ? v.w : 0);
        }
        return;
    }
    const int KEEP = 4; // 16 floats a thread stay in registers, 4096 a block; longer rows are read again
    float4 keep[KEEP];
    float sum = 0, sq = 0;
    auto get = [&](int c) {
        float4 v = __ldcg(reinterpret_cast<const float4*>(x + c));
        if (c + 1 >= k) v.y = 0;
        if (c + 2 >= k) v.z = 0;
        if (c + 3 >= k) v.w = 0;
        return v;
    };
#pragma unroll
    for (int i = 0; i < KEEP; i++) {
        int c = (threadIdx.x + i * GEMV_THREADS) * 4;
        keep[i] = c < k ? get(c) : make_float4(0, 0, 0, 0);
    }
    float mean = 0;
    if (a.norm.kind == NORM_LAYER) {
#pragma unroll
        for (int i = 0; i < KEEP; i++) sum += (keep[i].x + keep[i].y) + (keep[i].z + keep[i].w);
        for (int c = (threadIdx.x + KEEP * GEMV_THREADS) * 4; c < k; c += GEMV_THREADS * 4) {
            float4 v = get(c);
            sum += (v.x + v.y) + (v.z + v.w);
        }
        mean = blockSum(sum, shared) / k;
    }
    auto square = [&](float4 v, int c) {
        float p = v.x - mean, q = c + 1 < k ? v.y - mean : 0, r = c + 2 < k ? v.z - mean : 0, s = c + 3 < k ? v.w - mean : 0;
        return (p * p + q * q) + (r * r + s * s);
    };
#pragma unroll
    for (int i = 0; i < KEEP; i++) {
        int c = (threadIdx.x + i * GEMV_THREADS) * 4;
        if (c < k) sq += square(keep[i], c);
    }
    for (int c = (threadIdx.x + KEEP * GEMV_THREADS) * 4; c < k; c += GEMV_THREADS * 4) sq += square(get(c), c);
    float scale = 1.f / sqrtf(blockSum(sq, shared) / k + a.norm.eps);
    auto write = [&](float4 v, int c) {
        auto one = [&](float e, int i) {
            if (i >= k) return 0.f;
            float y = (e - mean) * scale * a.norm.w[i];
            return a.norm.b ? y + a.norm.b[i] : y;
        };
        put(c, one(v.x, c), one(v.y, c + 1), one(v.z, c + 2), one(v.w, c + 3));
    };
#pragma unroll
    for (int i = 0; i < KEEP; i++) {
        int c = (threadIdx.x + i * GEMV_THREADS) * 4;
        if (c < a.w.ld) write(keep[i], c);
    }
    for (int c = (threadIdx.x + KEEP * GEMV_THREADS) * 4; c < a.w.ld; c += GEMV_THREADS * 4) {
        write(c < k ? get(c) : make_float4(0, 0, 0, 0), c);
    }
}

// Output n of row m (not gated).
__device__ __forceinline__ void finish(const LinearArgs& a, int m, int n, float v, u64& best) {
    if (a.bias) v += a.bias[n];
    v = activate(v, a.act);
    if (a.residual) v += __ldcg(a.residual + (long long)m * a.ldr + n);
    static_cast<float*>(a.y)[(long long)m * a.ldy + n] = v;
    if (a.best) best = max(best, scoreKey(v, n));
}
// Rows n (gate) and n + 1 (up) of the matrix, n even.
__device__ __forceinline__ void finishGated(const LinearArgs& a, int m, int n, float gate, float up) {
    if (a.bias) gate += a.bias[n], up += a.bias[n + 1];
    float v = activate(gate, a.act) * up;
    if (a.residual) v += __ldcg(a.residual + (long long)m * a.ldr + n / 2);
    static_cast<float*>(a.y)[(long long)m * a.ldy + n / 2] = v;
}

// The block's best of row m to a.best[m][block].
__device__ __forceinline__ void publishBest(const LinearArgs& a, int m, u64 best, u64* shared) {
#pragma unroll
    for (int o = 16; o; o >>= 1) best = max(best, __shfl_xor_sync(~0u, best, o));
    __syncthreads();
    if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = best;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < GEMV_WARPS; w++) best = max(best, shared[w]);
        a.best[(long long)m * gridDim.x + blockIdx.x] = best;
    }
}
