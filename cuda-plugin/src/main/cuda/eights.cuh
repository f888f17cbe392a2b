// Heads of 64, 128 or 256 elements, eight neighbouring ones a lane: their norm, their rotation, and how they are read and written.
#pragma once
#include "attention.cuh"

struct __align__(16) Eight { float v[8]; };
__device__ __forceinline__ Eight loadEight(const void* p, long long at, int fmt) {
    Eight e;
    if (fmt == FMT_F32) {
        const float4* q = reinterpret_cast<const float4*>(static_cast<const float*>(p) + at);
        *reinterpret_cast<float4*>(e.v) = __ldcg(q), *reinterpret_cast<float4*>(e.v + 4) = __ldcg(q + 1);
        return e;
    }
    const uint4 q = __ldcg(reinterpret_cast<const uint4*>(static_cast<const __half*>(p) + at));
    const u32 w[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
    for (int i = 0; i < 4; i++) *reinterpret_cast<float2*>(e.v + 2 * i) = fmt == FMT_F16 ? f16Pair(w[i]) : bf16Pair(w[i]);
    return e;
}
__device__ __forceinline__ void storeEight(void* p, long long at, int fmt, const Eight& e) {
    if (fmt == FMT_F32) {
        float4* q = reinterpret_cast<float4*>(static_cast<float*>(p) + at);
        q[0] = *reinterpret_cast<const float4*>(e.v), q[1] = *reinterpret_cast<const float4*>(e.v + 4);
        return;
    }
    u32 w[4];
#pragma unroll
    for (int i = 0; i < 4; i++) w[i] = fmt == FMT_F16 ? packHalf(e.v[2 * i], e.v[2 * i + 1]) : packBf16(e.v[2 * i], e.v[2 * i + 1]);
    *reinterpret_cast<uint4*>(static_cast<__half*>(p) + at) = make_uint4(w[0], w[1], w[2], w[3]);
}

// A lane's share of the rotation of every head of a row: eight pairs with a partner lane, or four within the lane.
struct LaneRotation {
    float2 c[8];
    int partner; // the lane's distance; 0: none
    bool within, second;
    LaneRotation() = default;
    __device__ __forceinline__ LaneRotation(const RopeRef& rope, int row, int lane) : partner(0), within(false), second(false) {
        const int d = lane * 8, half = rope.rotaryDim / 2;
        if (!rope.cs || d >= rope.rotaryDim) return;
        within = rope.interleaved;
        second = !within && d >= half;
        partner = within ? 0 : second ? -half / 8 : half / 8;
        const float4* cs = reinterpret_cast<const float4*>(rope.cs + (long long)row * rope.ldcs + (within ? d / 2 : second ? d - half : d));
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (within && i >= 2) break;
            float4 v = __ldcg(cs + i);
            c[2 * i] = make_float2(v.x, v.y), c[2 * i + 1] = make_float2(v.z, v.w);
        }
    }
    __device__ __forceinline__ void apply(Eight& e, int lane) const {
        float other[8];
#pragma unroll
        for (int i = 0; i < 8; i++) other[i] = __shfl_sync(~0u, e.v[i], lane + partner);
        if (within) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float x = e.v[2 * i], y = e.v[2 * i + 1];
                e.v[2 * i] = x * c[i].x - y * c[i].y, e.v[2 * i + 1] = y * c[i].x + x * c[i].y;
            }
        } else if (partner) {
#pragma unroll
            for (int i = 0; i < 8; i++) e.v[i] = e.v[i] * c[i].x + (second ? other[i] : -other[i]) * c[i].y;
        }
    }
};

__device__ __forceinline__ void normalizeEight(Eight& e, const NormRef& norm, int dim, int d) {
    auto headSum = [&](float v) {
        for (int x = dim / 16; x; x >>= 1) v += __shfl_xor_sync(~0u, v, x);
        return v;
    };
    float sum = 0, sq = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) sum += e.v[i];
    const float mean = norm.kind == NORM_LAYER ? headSum(sum) / dim : 0.f;
#pragma unroll
    for (int i = 0; i < 8; i++) sq += (e.v[i] - mean) * (e.v[i] - mean);
    const float scale = 1.f / sqrtf(headSum(sq) / dim + norm.eps);
#pragma unroll
    for (int i = 0; i < 8; i++) e.v[i] = (e.v[i] - mean) * scale * norm.w[d + i] + (norm.b ? norm.b[d + i] : 0.f);
}
