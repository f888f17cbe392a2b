// Layer and root mean square normalization of every group of a row; with no norm, a cast to the compute type.
#include "common.cuh"

#define HELD 8 // vectors of 4 a thread: rows of up to 8192

#define EARLY 2 // vectors of gain and bias that are there before the row is

__device__ __forceinline__ float4 vector(const float* p, int c, int width) {
    return p && c < width ? *reinterpret_cast<const float4*>(p + c) : make_float4(0, 0, 0, 0);
}
// Sum over the block, in the same order in every run; `shared` is used once.
__device__ __forceinline__ float sumOnce(float v, float* shared) {
    v = warpSum(v);
    if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = v;
    __syncthreads();
    float t = 0;
#pragma unroll
    for (int w = 0; w < 8; w++) t += shared[w];
    return t;
}

// A row that is one group and fits the block's registers: read once, 16 bytes a thread at a time.
__device__ __forceinline__ void normalizeRow(const NormArgs& a, const float* x, long long y, float* shared) {
    const int width = a.width;
    float4 v[HELD], gain[EARLY], shift[EARLY];
#pragma unroll
    for (int i = 0; i < EARLY; i++) {
        const int c = (i * 256 + threadIdx.x) * 4;
        gain[i] = vector(a.norm.w, c, width), shift[i] = vector(a.norm.b, c, width);
    }
    dependencyWait();
    dependentsLaunch();
    float sum = 0, sq = 0;
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        v[i] = vector(x, (i * 256 + threadIdx.x) * 4, width);
        sum += (v[i].x + v[i].y) + (v[i].z + v[i].w);
    }
    const float mean = a.norm.kind == NORM_LAYER ? sumOnce(sum, shared) / width : 0.f;
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        v[i].x -= mean, v[i].y -= mean, v[i].z -= mean, v[i].w -= mean;
        if ((i * 256 + int(threadIdx.x)) * 4 < width) sq += (v[i].x * v[i].x + v[i].y * v[i].y) + (v[i].z * v[i].z + v[i].w * v[i].w);
    }
    const float scale = 1.f / sqrtf(sumOnce(sq, shared + 8) / width + a.norm.eps);
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        const int c = (i * 256 + threadIdx.x) * 4;
        if (c >= width) break;
        const float4 w = i < EARLY ? gain[i] : vector(a.norm.w, c, width), b = i < EARLY ? shift[i] : vector(a.norm.b, c, width);
        const float4 o = make_float4(v[i].x * scale * w.x + b.x, v[i].y * scale * w.y + b.y, v[i].z * scale * w.z + b.z, v[i].w * scale * w.w + b.w);
        if (a.yFmt == FMT_F32) *reinterpret_cast<float4*>(static_cast<float*>(a.y) + y + c) = o;
        else *reinterpret_cast<uint2*>(static_cast<__half*>(a.y) + y + c) = a.yFmt == FMT_F16
            ? make_uint2(packHalf(o.x, o.y), packHalf(o.z, o.w)) : make_uint2(packBf16(o.x, o.y), packBf16(o.z, o.w));
    }
}

// As normalizeRow by one warp, without a barrier: rows of at most 128 PER elements.
template <int PER> __device__ __forceinline__ void normalizeByWarp(const NormArgs& a) {
    const int r = blockIdx.x * 4 + (threadIdx.x >> 5), width = a.width, c0 = (threadIdx.x & 31) * 4;
    const float* x = a.x + (long long)r * a.ldx;
    float4 v[PER], gain[PER], shift[PER];
#pragma unroll
    for (int i = 0; i < PER; i++) gain[i] = vector(a.norm.w, c0 + i * 128, width), shift[i] = vector(a.norm.b, c0 + i * 128, width);
    dependencyWait();
    dependentsLaunch();
    if (r >= a.rows) return;
    float sum = 0, sq = 0;
#pragma unroll
    for (int i = 0; i < PER; i++) {
        v[i] = vector(x, c0 + i * 128, width);
        sum += (v[i].x + v[i].y) + (v[i].z + v[i].w);
    }
    const float mean = a.norm.kind == NORM_LAYER ? warpSum(sum) / width : 0.f;
#pragma unroll
    for (int i = 0; i < PER; i++) {
        v[i].x -= mean, v[i].y -= mean, v[i].z -= mean, v[i].w -= mean;
        if (c0 + i * 128 < width) sq += (v[i].x * v[i].x + v[i].y * v[i].y) + (v[i].z * v[i].z + v[i].w * v[i].w);
    }
    const float scale = 1.f / sqrtf(warpSum(sq) / width + a.norm.eps);
    const long long y = (long long)r * a.ldy;
    const int end = a.yFmt == FMT_F32 ? width : a.ldy; // the matrix units read the padding, which is zero: gain and shift are
#pragma unroll
    for (int i = 0; i < PER; i++) {
        const int c = c0 + i * 128;
        if (c >= end) break;
        const float4 o = make_float4(v[i].x * scale * gain[i].x + shift[i].x, v[i].y * scale * gain[i].y + shift[i].y,
                                     v[i].z * scale * gain[i].z + shift[i].z, v[i].w * scale * gain[i].w + shift[i].w);
        if (a.yFmt == FMT_F32) *reinterpret_cast<float4*>(static_cast<float*>(a.y) + y + c) = o;
        else *reinterpret_cast<uint2*>(static_cast<__half*>(a.y) + y + c) = a.yFmt == FMT_F16
            ? make_uint2(packHalf(o.x, o.y), packHalf(o.z, o.w)) : make_uint2(packBf16(o.x, o.y), packBf16(o.z, o.w));
    }
}
// launch grid(ceil(rows / 4)), block(128): rows of at most 1024 elements, and of at most 2048
extern "C" __global__ void __launch_bounds__(128) normalize_warps(const __grid_constant__ NormArgs a) {
    Mark mark{a.mark};
    normalizeByWarp<8>(a);
}
extern "C" __global__ void __launch_bounds__(128) normalize_warps_wide(const __grid_constant__ NormArgs a) {
    Mark mark{a.mark};
    normalizeByWarp<16>(a);
}

extern "C" __global__ void __launch_bounds__(256) normalize(const __grid_constant__ NormArgs a) {
    __shared__ float shared[16];
    Mark mark{a.mark};
    const float* x = a.x + (long long)blockIdx.x * a.ldx;
    long long y = (long long)blockIdx.x * a.ldy;
    int group = a.norm.kind == NORM_NONE ? a.width : a.norm.group;
    const bool held = a.norm.kind != NORM_NONE && group == a.width && a.width <= HELD * 1024 && ((a.width | a.ldx | a.ldy) & 3) == 0 &&
                      ((reinterpret_cast<uintptr_t>(a.norm.w) | reinterpret_cast<uintptr_t>(a.norm.b)) & 15) == 0;
    if (held) {
        normalizeRow(a, x, y, shared);
    } else {
        dependencyWait();
        dependentsLaunch();
    }
    for (int g = held ? a.width : 0; g < a.width; g += group) {
        float mean = 0, scale = 1;
        if (a.norm.kind == NORM_LAYER) {
            float sum = 0;
            for (int c = threadIdx.x; c < group; c += blockDim.x) sum += x[g + c];
            mean = blockSum(sum, shared) / group;
        }
        if (a.norm.kind != NORM_NONE) {
            float sum = 0;
            for (int c = threadIdx.x; c < group; c += blockDim.x) sum += (x[g + c] - mean) * (x[g + c] - mean);
            scale = 1.f / sqrtf(blockSum(sum, shared) / group + a.norm.eps);
        }
        for (int c = threadIdx.x; c < group; c += blockDim.x) {
            float v = (x[g + c] - mean) * scale;
            if (a.norm.kind != NORM_NONE) v *= a.norm.w[c];
            if (a.norm.kind != NORM_NONE && a.norm.b) v += a.norm.b[c];
            storeAs(a.y, y + g + c, a.yFmt, v);
        }
    }
    if (a.yFmt != FMT_F32) { // the matrix units read the padding: it must be zero
        for (int c = a.width + threadIdx.x; c < a.ldy; c += blockDim.x) storeAs(a.y, y + c, a.yFmt, 0.f);
    }
}
