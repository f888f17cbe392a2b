// Small parts that every kernel uses: number formats, reductions, activations, programmatic dependent launch.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>
#include "abi.cuh"


// Lets the next kernel of the stream start its prologue (it waits in dependencyWait before it reads what we write). Always
// called after our own wait: so when a kernel runs, only the one right before it can still be at work.
__device__ __forceinline__ void dependentsLaunch() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
// Blocks until the kernels before have finished and their writes are visible.
__device__ __forceinline__ void dependencyWait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Raises *mark to the device's clock when the block's first thread leaves the kernel.
struct Mark {
    u64* slot;
    __device__ __forceinline__ ~Mark() {
        if (!slot || threadIdx.x) return;
        u64 now;
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
        atomicMax(slot, now);
    }
};

// 16 bytes of a weight: read once, so kept out of L1.
__device__ __forceinline__ uint4 loadStream(const void* p) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}

__device__ __forceinline__ float asFloat(u32 bits) { return __uint_as_float(bits); }
__device__ __forceinline__ float2 bf16Pair(u32 v) { return make_float2(asFloat(v << 16), asFloat(v & 0xffff0000u)); }
__device__ __forceinline__ float2 f16Pair(u32 v) { return __half22float2(*reinterpret_cast<const __half2*>(&v)); }
__device__ __forceinline__ u32 packHalf(float a, float b) {
    __half2 h = __floats2half2_rn(fminf(fmaxf(a, -65504.f), 65504.f), fminf(fmaxf(b, -65504.f), 65504.f));
    return *reinterpret_cast<u32*>(&h);
}
__device__ __forceinline__ u32 packBf16(float a, float b) {
    __nv_bfloat162 h = __floats2bfloat162_rn(a, b);
    return *reinterpret_cast<u32*>(&h);
}

__device__ __forceinline__ float loadAs(const void* p, long long i, int fmt) {
    if (fmt == FMT_F32) return static_cast<const float*>(p)[i];
    if (fmt == FMT_F16) return __half2float(static_cast<const __half*>(p)[i]);
    return __bfloat162float(static_cast<const __nv_bfloat16*>(p)[i]);
}
__device__ __forceinline__ void storeAs(void* p, long long i, int fmt, float v) {
    if (fmt == FMT_F32) static_cast<float*>(p)[i] = v;
    else if (fmt == FMT_F16) static_cast<__half*>(p)[i] = __float2half_rn(fminf(fmaxf(v, -65504.f), 65504.f));
    else static_cast<__nv_bfloat16*>(p)[i] = __float2bfloat16_rn(v);
}
__device__ __forceinline__ void storePair(void* p, long long i, int fmt, float a, float b) { // i even
    if (fmt == FMT_F32) *reinterpret_cast<float2*>(static_cast<float*>(p) + i) = make_float2(a, b);
    else *reinterpret_cast<u32*>(static_cast<__half*>(p) + i) = fmt == FMT_F16 ? packHalf(a, b) : packBf16(a, b);
}

__device__ __forceinline__ float warpSum(float v) {
#pragma unroll
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
    return v;
}
__device__ __forceinline__ float warpMax(float v) {
#pragma unroll
    for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, o));
    return v;
}
// Sum over the block, in the same order in every run. `shared` holds a float per warp.
__device__ __forceinline__ float blockSum(float v, float* shared) {
    v = warpSum(v);
    __syncthreads();
    if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = v;
    __syncthreads();
    float t = 0;
    for (int w = 0; w < (blockDim.x >> 5); w++) t += shared[w];
    return t;
}
__device__ __forceinline__ float blockMax(float v, float* shared) {
    v = warpMax(v);
    __syncthreads();
    if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = v;
    __syncthreads();
    float t = shared[0];
    for (int w = 1; w < (blockDim.x >> 5); w++) t = fmaxf(t, shared[w]);
    return t;
}

// erff and tanhf of the math library: at most 2 ulp from exact, so the strict mode stays strict.
__device__ __forceinline__ float activate(float x, int act) {
    switch (act) {
        case ACT_GELU: return 0.5f * x * (1.f + erff(x * 0.70710678118654752f));
        case ACT_GELU_TANH: return 0.5f * x * (1.f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
        case ACT_RELU: return fmaxf(x, 0.f);
        case ACT_SILU: return x / (1.f + expf(-x));
        case ACT_TANH: return tanhf(x);
        default: return x;
    }
}

// Keys that order like the scores; of equal scores the lower id is the higher key.
__device__ __forceinline__ u32 ordered(float f) {
    u32 b = __float_as_uint(f + 0.0f); // -0 becomes +0: equal scores, equal keys
    return b & 0x80000000u ? ~b : b | 0x80000000u;
}
__device__ __forceinline__ u64 scoreKey(float f, int id) { return (u64(ordered(f)) << 32) | u32(~id); }
__device__ __forceinline__ int keyId(u64 key) { return int(~u32(key)); }
