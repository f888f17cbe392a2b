// What the matrix-matrix kernels share: the epilogue.
//
// A block's sums go through shared memory: rows come out whole, 16 bytes a thread, and the code of bias, activation, gate
// and residual exists once, in a rolled loop. Unrolled over a thread's 64 sums it was 30 us of instruction-cache misses.
#pragma once
#include "common.cuh"

#define TILE_LD 132 // floats of a row of sums: 4 more than 128, so that fragments and rows both spread over the banks
#define TILE_BYTES(ROWS) ((ROWS) * TILE_LD * 4)

__device__ __forceinline__ void activate4(float v[4], int act) {
    switch (act) {
        case ACT_NONE: return;
#define EACH(KIND) \
    case KIND: \
        _Pragma("unroll") for (int i = 0; i < 4; i++) v[i] = activate(v[i], KIND); \
        return;
        EACH(ACT_GELU) EACH(ACT_GELU_TANH) EACH(ACT_RELU) EACH(ACT_SILU) EACH(ACT_TANH)
#undef EACH
    }
}

// As activate, with the fast exponential and division (2 ulp each): for results of matrix units.
__device__ __forceinline__ float activateFast(float x, int act) {
    if (act == ACT_SILU) return __fdividef(x, 1.f + __expf(fminf(-x, 80.f)));
    if (act == ACT_GELU_TANH) return __fdividef(x, 1.f + __expf(fminf(-1.5957691216057308f * (x + 0.044715f * x * x * x), 80.f)));
    return activate(x, act);
}
template <int N> __device__ __forceinline__ void activateMany(float* v, int act) {
    switch (act) {
        case ACT_NONE: return;
#define EACH(KIND) \
    case KIND: \
        _Pragma("unroll") for (int i = 0; i < N; i++) v[i] = activateFast(v[i], KIND); \
        return;
        EACH(ACT_GELU) EACH(ACT_GELU_TANH) EACH(ACT_RELU) EACH(ACT_SILU) EACH(ACT_TANH)
#undef EACH
    }
}

// Blocks of the same tile (gridDim.z of them) have each summed a share of k. Every one leaves its N sums a thread in
// a.work; the last adds them up, in order, and returns true: it goes on to the epilogue. No float atomics: a result does not
// depend on who came last. work: 1024 N bytes per block; counters: one per tile, left zero.
template <int N> __device__ __forceinline__ bool combineSplits(const LinearArgs& a, float* sums) {
    if (gridDim.z == 1) return true;
    __shared__ int arrived;
    const int tile = blockIdx.y * gridDim.x + blockIdx.x;
    float* work = static_cast<float*>(a.work) + (long long)tile * gridDim.z * (N * 256) + threadIdx.x;
#pragma unroll
    for (int i = 0; i < N; i++) __stcg(work + (blockIdx.z * N + i) * 256, sums[i]);
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) arrived = atomicAdd(a.counters + tile, 1);
    __syncthreads();
    if (arrived != int(gridDim.z) - 1) return false;
    __threadfence();
    if (threadIdx.x == 0) a.counters[tile] = 0;
#pragma unroll
    for (int i = 0; i < N; i++) sums[i] = 0;
    for (int z = 0; z < int(gridDim.z); z++) {
#pragma unroll
        for (int i = 0; i < N; i++) sums[i] += __ldcg(work + (z * N + i) * 256);
    }
    return true;
}

// What happens to four neighbouring columns of the sums: bias, activation, gate, residual, rounding. Past the output's width
// a 16-bit row is padded with zeros up to ldy.
struct Epilogue {
    float bias[4];
    int per, first, left, padLeft; // outputs of four sums, where they go in a row, columns to write, to write or pad
    bool whole, wholeResidual;
    __device__ __forceinline__ Epilogue(const LinearArgs& a, int n) {
#pragma unroll
        for (int i = 0; i < 4; i++) bias[i] = a.bias && n + i < a.w.n ? a.bias[n + i] : 0.f;
        const int width = a.gated ? a.w.n / 2 : a.w.n, es = a.yFmt == FMT_F32 ? 4 : 2;
        per = a.gated ? 2 : 4, first = a.gated ? n / 2 : n;
        left = width - first, padLeft = a.yFmt == FMT_F32 ? 0 : a.ldy - first;
        whole = left >= per && ((reinterpret_cast<uintptr_t>(a.y) | (long long)a.ldy * es) & (per * es - 1)) == 0;
        wholeResidual = a.residual && left >= per && ((reinterpret_cast<uintptr_t>(a.residual) | (long long)a.ldr * 4) & (per * 4 - 1)) == 0;
    }
    __device__ __forceinline__ bool idle() const { return left <= 0 && padLeft <= 0; }
    // What is added to row m's; zeros where nothing is.
    __device__ __forceinline__ float4 residualOf(const LinearArgs& a, int m) const {
        float q[4] = {};
        if (a.residual) {
            const float* from = a.residual + (long long)m * a.ldr + first;
            if (wholeResidual && per == 4) return *reinterpret_cast<const float4*>(from);
#pragma unroll
            for (int i = 0; i < 4; i++) if (i < per && i < left) q[i] = from[i];
        }
        return make_float4(q[0], q[1], q[2], q[3]);
    }
    __device__ __forceinline__ void row(const LinearArgs& a, int m, float4 sums) const { row<false>(a, m, sums, residualOf(a, m)); }
    template <bool FAST> __device__ __forceinline__ void row(const LinearArgs& a, int m, float4 sums, float4 q) const {
        float v[4] = {sums.x + bias[0], sums.y + bias[1], sums.z + bias[2], sums.w + bias[3]};
        const float up0 = v[1], up1 = v[3];
        if (a.gated) v[1] = v[2];
        if (FAST) activateMany<4>(v, a.act);
        else activate4(v, a.act);
        if (a.gated) v[0] *= up0, v[1] *= up1;
        v[0] += q.x, v[1] += q.y, v[2] += q.z, v[3] += q.w;
        const long long at = (long long)m * a.ldy + first;
        if (whole && per == 4) {
            if (a.yFmt == FMT_F32) *reinterpret_cast<float4*>(static_cast<float*>(a.y) + at) = make_float4(v[0], v[1], v[2], v[3]);
            else *reinterpret_cast<uint2*>(static_cast<__half*>(a.y) + at) = a.yFmt == FMT_F16
                ? make_uint2(packHalf(v[0], v[1]), packHalf(v[2], v[3])) : make_uint2(packBf16(v[0], v[1]), packBf16(v[2], v[3]));
        } else if (whole) {
            storePair(a.y, at, a.yFmt, v[0], v[1]);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if (i < per && i < left) storeAs(a.y, at + i, a.yFmt, v[i]);
                else if (i < per && i < padLeft) storeAs(a.y, at + i, a.yFmt, 0.f);
            }
        }
    }
};

// Rows m0 .. m0 + ROWS - 1 and columns n0 .. n0 + COLUMNS - 1 of the sums, by 256 threads.
template <int ROWS, int COLUMNS = 128> __device__ __forceinline__ void finishTile(const LinearArgs& a, const float* tile, int m0, int n0) {
    const int c = (threadIdx.x % (COLUMNS / 4)) * 4;
    const Epilogue e(a, n0 + c);
    if (e.idle()) return;
#pragma unroll 1
    for (int r = threadIdx.x / (COLUMNS / 4); r < ROWS && m0 + r < a.m; r += 1024 / COLUMNS) {
        e.row(a, m0 + r, *reinterpret_cast<const float4*>(tile + r * TILE_LD + c));
    }
}
