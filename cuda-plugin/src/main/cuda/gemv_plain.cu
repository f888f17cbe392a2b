// y = epilogue(norm(x) W^T) for up to 8 rows of x and weights of plain floating point: the decode step's linear maps (on 9.0, one
// row of x has a kernel of its own, gemv_one.cu).
//
// Bound by reading W: every lane has 8 loads of 16 bytes in flight (32 KB a block of 256 threads; 27 KB an SM covers the
// latency at 4.5 TB/s), the first of them before it waits for the kernel that makes x. kSlices warps share a row; a warp takes
// two rows at once, so that a read of x from shared memory serves both. One row was up to 60% slower in GPT-2's shapes, four
// the same within 3%.
#include "gemv.cuh"
#include "plain.cuh"

// One pass over W for rows m0 .. m0 + MT - 1 of x.
template <int FMT, int MT>
__device__ __forceinline__ void gemvPass(const LinearArgs& a, int m0, float4* xs, float* shared, u64 (*bests)[GEMV_WARPS]) {
    const int R = 2, U = 8 / R, VN = Vec<FMT>::N, PLANES = Vec<FMT>::PLANES;
    const int ks = a.kSlices, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int slice = warp & (ks - 1), perBlock = GEMV_WARPS / ks;
    const int vecs = a.w.ld / VN, stride = 32 * ks, groups = (a.w.n + R - 1) / R, total = gridDim.x * perBlock;
    const int rounds = (groups + total - 1) / total, chunks = (vecs + stride * U - 1) / (stride * U);
    const uint4* w = static_cast<const uint4*>(a.w.data);
    const int first = slice * 32 + lane;
    int group = blockIdx.x * perBlock + warp / ks;
    const int r = lane % R, m = lane / R; // this lane's output, where there is one: row r of the group, row m of x
    const bool mine = slice == 0 && m < MT && m0 + m < a.m && !(a.gated && (r & 1));

    uint4 next[R * U];
    auto load = [&](int g, int chunk) {
        const uint4* row = w + (long long)g * R * vecs;
#pragma unroll
        for (int u = 0; u < U; u++) {
            int i = first + (chunk * U + u) * stride;
#pragma unroll
            for (int q = 0; q < R; q++) {
                next[u * R + q] = make_uint4(0, 0, 0, 0);
                if (g < groups && i < vecs) next[u * R + q] = loadStream(row + q * vecs + i);
            }
        }
    };
    load(group, 0);
    Epilogue epilogue;
    epilogue.loadBias(a, group * R + r);
    const u32 touched = touchNorm(a);
    dependencyWait();
    dependentsLaunch();
    if (mine) epilogue.loadResidual(a, m0 + m, group * R + r);
    if (touched == 0x7fabcdefu) xs[0].x = 0; // never
#pragma unroll 1
    for (int i = 0; i < MT; i++) {
        if (i > 0 || m0 > 0) __syncthreads();
        if (m0 + i < a.m) {
            stageRow(a, m0 + i, shared, [&](int c) -> float4& {
                return xs[(i * PLANES + (PLANES == 2 ? (c >> 2) & 1 : 0)) * vecs + c / VN];
            });
        }
    }
    __syncthreads();
    u64 best = 0;
    for (int round = 0; round < rounds; round++, group += total) {
        float acc[R][MT] = {};
        if (round > 0) {
            epilogue.loadBias(a, group * R + r);
            if (mine) epilogue.loadResidual(a, m0 + m, group * R + r);
        }
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
                for (int q = 0; q < R; q++) unpack<FMT>(now[u * R + q], f[q]);
#pragma unroll
                for (int j = 0; j < MT; j++) {
#pragma unroll
                    for (int p = 0; p < PLANES; p++) {
                        float4 x = xs[(j * PLANES + p) * vecs + i];
#pragma unroll
                        for (int q = 0; q < R; q++) {
                            acc[q][j] += f[q][4 * p] * x.x;
                            acc[q][j] += f[q][4 * p + 1] * x.y;
                            acc[q][j] += f[q][4 * p + 2] * x.z;
                            acc[q][j] += f[q][4 * p + 3] * x.w;
                        }
                    }
                }
            }
        }
        float v = 0;
#pragma unroll
        for (int q = 0; q < R; q++) {
#pragma unroll
            for (int j = 0; j < MT; j++) {
                float sum = warpSum(acc[q][j]);
                if (lane == j * R + q) v = sum;
            }
        }
        if (ks > 1) { // the warps of a row add up, in order; two buffers, so one barrier a round
            float* sums = shared + 16 + (round & 1) * GEMV_WARPS * 8;
            if (lane < R * MT) sums[warp * 8 + lane] = v;
            __syncthreads();
            if (slice == 0 && lane < R * MT) {
                for (int s = 1; s < ks; s++) v += sums[(warp + s) * 8 + lane];
            }
        }
        float up = a.gated ? __shfl_down_sync(~0u, v, 1) : 0.f;
        if (mine && group < groups && group * R + r < a.w.n) epilogue.finish(a, m0 + m, group * R + r, v, up, best);
    }
    if (a.best) publishBests(a, m0, min(MT, a.m - m0), bests, [&](int i) { return m == i ? best : 0; });
}

template <int FMT, int MT> __device__ __forceinline__ void gemvAll(const LinearArgs& a, float4* xs, float* shared, u64 (*bests)[GEMV_WARPS]) {
    for (int m0 = 0; m0 < a.m; m0 += MT) gemvPass<FMT, MT>(a, m0, xs, shared, bests);
}

template <int FMT> __device__ __forceinline__ void gemv(const LinearArgs& a) {
    extern __shared__ float4 xs[];
    __shared__ __align__(16) float shared[16 + 2 * GEMV_WARPS * 8];
    __shared__ u64 bests[4][GEMV_WARPS];
    Mark mark{a.mark};
    int mt = dynamicShared() / (a.w.ld * 4);
    if (mt >= 4) gemvAll<FMT, 4>(a, xs, shared, bests);
    else if (mt >= 2) gemvAll<FMT, 2>(a, xs, shared, bests);
    else gemvAll<FMT, 1>(a, xs, shared, bests);
}

extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_f32(const __grid_constant__ LinearArgs a) { gemv<FMT_F32>(a); }
extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_f16(const __grid_constant__ LinearArgs a) { gemv<FMT_F16>(a); }
extern "C" __global__ void __launch_bounds__(GEMV_THREADS, 2) gemv_bf16(const __grid_constant__ LinearArgs a) { gemv<FMT_BF16>(a); }
