// Weights of plain floating point as kernels multiply them: 16 bytes at a time, as floats.
#pragma once
#include "common.cuh"

template <int FMT> struct Vec { static const int N = FMT == FMT_F32 ? 4 : 8, PLANES = N / 4, BYTES = 16 / N; };

template <int FMT> __device__ __forceinline__ void unpack(uint4 v, float* f) {
    if (FMT == FMT_F32) {
        f[0] = asFloat(v.x), f[1] = asFloat(v.y), f[2] = asFloat(v.z), f[3] = asFloat(v.w);
    } else {
        u32 w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float2 p = FMT == FMT_F16 ? f16Pair(w[i]) : bf16Pair(w[i]);
            f[2 * i] = p.x, f[2 * i + 1] = p.y;
        }
    }
}
