// y = epilogue(norm(x) W^T) for up to 8 rows of x and weights of plain floating point: the decode step's linear maps.
//
// Bound by reading W: every lane has 8 loads of 16 bytes in flight (32 KB a block of 256 threads; 27 KB an SM covers the
// latency at 4.5 TB/s), the first of them before it waits for the kernel that makes x. kSlices warps share a row, each
// takes rowsPerWarp rows at once so that one read of x from shared memory serves them all.
#include "gemv.cuh"

template <int FMT> struct Vec { static const int N = FMT == FMT_F32 ? 4 : 8, PLANES = N / 4; };

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

// One pass over W for rows m0 .. m0 + MT - 1 of x.
template <int FMT, int MT, int R>
__device__ __forceinline__ void gemvPass(const LinearArgs& a, int m0, float4* xs, float* shared) {
    const int U = 8 / R, VN = Vec<FMT>::N, PLANES = Vec<FMT>::PLANES;
    const int ks = a.kSlices, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int slice = warp & (ks - 1), perBlock = GEMV_WARPS / ks;
    const int vecs = a.w.ld / VN, stride = 32 * ks, groups = (a.w.n + R - 1) / R, total = gridDim.x * perBlock;
    const int rounds = (groups + total - 1) / total, chunks = (vecs + stride * U - 1) / (stride * U);
    const uint4* w = static_cast<const uint4*>(a.w.data);
    const int first = slice * 32 + lane;
    int group = blockIdx.x * perBlock + warp / ks;

    uint4 next[R * U];
    auto load = [&](int g, int chunk) {
#pragma unroll
        for (int u = 0; u < U; u++) {
            int i = first + (chunk * U + u) * stride;
#pragma unroll
            for (int r = 0; r < R; r++) {
                next[u * R + r] = make_uint4(0, 0, 0, 0);
                if (g < groups && i < vecs) next[u * R + r] = loadStream(w + ((long long)g * R + r) * vecs + i);
            }
        }
    };
    load(group, 0);
    dependencyWait();
    __syncthreads();
    for (int m = 0; m < MT; m++) {
        if (m0 + m < a.m) {
            stageRow(a, m0 + m, shared, [&](int c, float p, float q, float r, float s) {
                xs[(m * PLANES + (PLANES == 2 ? (c >> 2) & 1 : 0)) * vecs + c / VN] = make_float4(p, q, r, s);
            });
        }
    }
    __syncthreads();
    u64 best[MT] = {};
    for (int round = 0; round < rounds; round++, group += total) {
        float acc[R][MT] = {};
        for (int chunk = 0; chunk < chunks; chunk++) {
            uint4 now[R * U];
#pragma unroll
            for (int j = 0; j < R * U; j++) now[j] = next[j];
            if (chunk + 1 < chunks) load(group, chunk + 1);
            else if (round + 1 < rounds) load(group + total, 0);
#pragma unroll
            for (int u = 0; u < U; u++) {
                int i = first + (chunk * U + u) * stride;
                if (i >= vecs) break;
                float f[R][VN];
#pragma unroll
                for (int r = 0; r < R; r++) unpack<FMT>(now[u * R + r], f[r]);
#pragma unroll
                for (int m = 0; m < MT; m++) {
#pragma unroll
                    for (int p = 0; p < PLANES; p++) {
                        float4 x = xs[(m * PLANES + p) * vecs + i];
#pragma unroll
                        for (int r = 0; r < R; r++) {
                            acc[r][m] += f[r][4 * p] * x.x;
                            acc[r][m] += f[r][4 * p + 1] * x.y;
                            acc[r][m] += f[r][4 * p + 2] * x.z;
                            acc[r][m] += f[r][4 * p + 3] * x.w;
                        }
                    }
                }
            }
        }
#pragma unroll
        for (int r = 0; r < R; r++) {
#pragma unroll
            for (int m = 0; m < MT; m++) acc[r][m] = warpSum(acc[r][m]);
        }
        if (ks > 1) { // the warps of a row add up, in order
            float* mine = shared + 16 + ((round & 1) * GEMV_WARPS + warp) * (R * MT);
            if (lane == 0) {
#pragma unroll
                for (int r = 0; r < R; r++)
#pragma unroll
                    for (int m = 0; m < MT; m++) mine[r * MT + m] = acc[r][m];
            }
            __syncthreads();
            if (slice == 0) {
#pragma unroll
                for (int r = 0; r < R; r++)
#pragma unroll
                    for (int m = 0; m < MT; m++) {
                        float t = mine[r * MT + m];
                        for (int s = 1; s < ks; s++) t += mine[s * R * MT + r * MT + m];
                        acc[r][m] = t;
                    }
            }
        }
        if (slice == 0 && group < groups) {
#pragma unroll
            for (int m = 0; m < MT; m++) {
                if (m0 + m >= a.m) break;
                if (a.gated && R > 1) {
#pragma unroll
                    for (int r = 0; r + 1 < R; r += 2) {
                        if (lane == r && group * R + r < a.w.n) finishGated(a, m0 + m, group * R + r, acc[r][m], acc[r + 1][m]);
                    }
                } else {
#pragma unroll
                    for (int r = 0; r < R; r++) {
                        if (lane == r && group * R + r < a.w.n) finish(a, m0 + m, group * R + r, acc[r][m], best[m]);
                    }
                }
            }
        }
    }
    if (a.best) {
#pragma unroll
        for (int m = 0; m < MT; m++) {
            if (m0 + m < a.m) publishBest(a, m0 + m, best[m], reinterpret_cast<u64*>(shared));
        }
    }
}

template <int FMT, int MT, int R> __device__ __forceinline__ void gemvAll(const LinearArgs& a, float4* xs, float* shared) {
    for (int m0 = 0; m0 < a.m; m0 += MT) gemvPass<FMT, MT, R>(a, m0, xs, shared);
}

template <int FMT> __device__ __forceinline__ void gemv(const LinearArgs& a) {
    extern __shared__ float4 xs[];
    __shared__ __align__(16) float shared[16 + 2 * GEMV_WARPS * 16];
    Mark mark{a.mark};
    dependentsLaunch();
    int mt = dynamicShared() / (a.w.ld * 4);
    int r = a.gated && a.rowsPerWarp < 2 ? 2 : a.rowsPerWarp;
    if (mt >= 4) {
        if (r >= 2) gemvAll<FMT, 4, 2>(a, xs, shared);
        else gemvAll<FMT, 4, 1>(a, xs, shared);
    } else if (mt >= 2) {
        if (r >= 2) gemvAll<FMT, 2, 2>(a, xs, shared);
        else gemvAll<FMT, 2, 1>(a, xs, shared);
    } else if (r >= 4) {
        gemvAll<FMT, 1, 4>(a, xs, shared);
    } else if (r >= 2) {
        gemvAll<FMT, 1, 2>(a, xs, shared);
    } else {
        gemvAll<FMT, 1, 1>(a, xs, shared);
    }
}

extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_f32(const __grid_constant__ LinearArgs a) { gemv<FMT_F32>(a); }
extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_f16(const __grid_constant__ LinearArgs a) { gemv<FMT_F16>(a); }
extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_bf16(const __grid_constant__ LinearArgs a) { gemv<FMT_BF16>(a); }
