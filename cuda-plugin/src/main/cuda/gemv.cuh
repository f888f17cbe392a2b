// What the matrix-vector kernels share: staging the (normalized) input in shared memory, and the epilogue.
//
// In the shapes of decoding a phase is 1-3 us and mostly latency, so everything that does not depend on the kernel before
// (weights, norm weights, bias) is loaded before the wait, and everything that does (x, residual) right after it, at once.
#pragma once
#include "common.cuh"

#define GEMV_THREADS 256
#define GEMV_WARPS (GEMV_THREADS / 32)

__device__ __forceinline__ u32 dynamicShared() {
    u32 bytes;
    asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(bytes));
    return bytes;
}

// Four neighbours from column c of a vector of k; zero past its end. The vector is 16-byte aligned and padded to 4.
__device__ __forceinline__ float4 four(const float* p, int c, int k) {
    if (c + 4 <= k) return __ldg(reinterpret_cast<const float4*>(p + c));
    float4 v = make_float4(0, 0, 0, 0);
    if (c < k) v.x = p[c];
    if (c + 1 < k) v.y = p[c + 1];
    if (c + 2 < k) v.z = p[c + 2];
    return v;
}
// The same of x, which the kernel before has just written: past L1, which may hold what was there earlier.
__device__ __forceinline__ float4 fourOfX(const float* x, int c, int k) {
    float4 v = make_float4(0, 0, 0, 0);
    if (c < k) v = __ldcg(reinterpret_cast<const float4*>(x + c)); // rows of x are padded to 64
    if (c + 1 >= k) v.y = 0;
    if (c + 2 >= k) v.z = 0;
    if (c + 3 >= k) v.w = 0;
    return v;
}

// Brings the norm's vectors into L1 before the wait. The result goes to touched(), where it keeps the loads alive.
__device__ __forceinline__ u32 touchNorm(const LinearArgs& a) {
    u32 v = 0;
    if (a.norm.kind != NORM_NONE) {
        for (int c = threadIdx.x * 32; c < a.w.k; c += GEMV_THREADS * 32) { // a line of 128 bytes each
            v ^= __float_as_uint(__ldg(a.norm.w + c));
            if (a.norm.b) v ^= __float_as_uint(__ldg(a.norm.b + c));
        }
    }
    return v;
}

// Reads one row of x and leaves it in shared memory, where at(column) says; normalized, zero from its end to ld. A block
// does this for itself: 4..44 KB from L2 cost less than a phase of its own (1.7-2.5 us). A thread only meets its own
// columns, so the one barrier is that of the sums; `shared`: two floats a warp. Mean and squares are taken per warp and
// then combined (Chan et al., 1983), so nothing cancels.
template <class At> __device__ __forceinline__ void stageRow(const LinearArgs& a, int m, float* shared, At at) {
    const float* x = static_cast<const float*>(a.x) + (long long)m * a.ldx;
    const int k = a.w.k, ld = a.w.ld, STEP = GEMV_THREADS * 4;
    float sum = 0, sq = 0, mean = 0;
    for (int base = threadIdx.x * 4; base < ld; base += 4 * STEP) { // four loads in flight
        float4 v[4];
#pragma unroll
        for (int i = 0; i < 4; i++) v[i] = fourOfX(x, base + i * STEP, k);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (base + i * STEP < ld) at(base + i * STEP) = v[i];
            sum += (v[i].x + v[i].y) + (v[i].z + v[i].w);
        }
    }
    if (a.norm.kind == NORM_NONE) return;
    // columns of warp w: its 128 of each 1024
    auto columns = [&](int w) { return 128.f * (k / STEP) + max(0, min(128, k % STEP - w * 128)); };
    if (a.norm.kind == NORM_LAYER) {
        sum = warpSum(sum);
        float n = columns(threadIdx.x >> 5);
        mean = n > 0 ? __fdividef(sum, n) : 0; // approximate divisions: they are on the critical path, and 2 ulp off
    }
    for (int c = threadIdx.x * 4; c < k; c += STEP) {
        float4 v = at(c);
        float p = v.x - mean, q = c + 1 < k ? v.y - mean : 0, r = c + 2 < k ? v.z - mean : 0, s = c + 3 < k ? v.w - mean : 0;
        sq += (p * p + q * q) + (r * r + s * s);
    }
    sq = warpSum(sq);
    float2* parts = reinterpret_cast<float2*>(shared);
    if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = make_float2(sum, sq);
    __syncthreads();
    float squares = 0;
    mean = 0;
#pragma unroll
    for (int w = 0; w < GEMV_WARPS; w++) mean += parts[w].x, squares += parts[w].y;
    const float inverse = __fdividef(1.f, float(k));
    mean *= inverse;
    if (a.norm.kind == NORM_LAYER) {
#pragma unroll
        for (int w = 0; w < GEMV_WARPS; w++) {
            float n = columns(w);
            if (n > 0) {
                float d = __fdividef(parts[w].x, n) - mean;
                squares += n * d * d;
            }
        }
    } else {
        mean = 0;
    }
    const float scale = rsqrtf(squares * inverse + a.norm.eps);
    for (int c = threadIdx.x * 4; c < k; c += STEP) {
        float4 v = at(c), w = four(a.norm.w, c, k), b = a.norm.b ? four(a.norm.b, c, k) : make_float4(0, 0, 0, 0);
        at(c) = make_float4((v.x - mean) * scale * w.x + b.x, (v.y - mean) * scale * w.y + b.y,
                            (v.z - mean) * scale * w.z + b.z, (v.w - mean) * scale * w.w + b.w);
    }
}

// What one thread adds to its output n of row m (gated: n even, of the pair n, n + 1).
struct Epilogue {
    float bias, upBias, residual;
    __device__ __forceinline__ void loadBias(const LinearArgs& a, int n) { // before the wait
        bias = upBias = residual = 0;
        if (!a.bias || n >= a.w.n) return;
        bias = __ldg(a.bias + n);
        if (a.gated) upBias = __ldg(a.bias + n + 1);
    }
    __device__ __forceinline__ void loadResidual(const LinearArgs& a, int m, int n) { // after it
        if (a.residual && n < a.w.n && m < a.m) residual = __ldcg(a.residual + (long long)m * a.ldr + (a.gated ? n / 2 : n));
    }
    __device__ __forceinline__ void finish(const LinearArgs& a, int m, int n, float v, float up, u64& best) const {
        v = activate(v + bias, a.act);
        if (a.gated) v *= up + upBias;
        v += residual;
        static_cast<float*>(a.y)[(long long)m * a.ldy + (a.gated ? n / 2 : n)] = v;
        if (a.best) best = max(best, scoreKey(v, n));
    }
};

// The block's best of each of `rows` rows from m0 on to a.best[row][block]; of(m): the thread's own of row m0 + m. One barrier:
// warps that have met at named barriers before, not equally often, would look to racecheck like ones that missed a second.
template <class Of> __device__ __forceinline__ void publishBests(const LinearArgs& a, int m0, int rows, u64 (*shared)[GEMV_WARPS], Of of) {
#pragma unroll 1
    for (int m = 0; m < rows; m++) {
        u64 best = of(m);
#pragma unroll
        for (int o = 16; o; o >>= 1) best = max(best, __shfl_xor_sync(~0u, best, o));
        if ((threadIdx.x & 31) == 0) shared[m][threadIdx.x >> 5] = best;
    }
    __syncthreads();
    if (threadIdx.x < rows) {
        u64 best = 0;
        for (int w = 0; w < GEMV_WARPS; w++) best = max(best, shared[threadIdx.x][w]);
        a.best[(long long)(m0 + threadIdx.x) * gridDim.x + blockIdx.x] = best;
    }
}
