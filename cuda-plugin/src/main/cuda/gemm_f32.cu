// y = epilogue(x W^T) in strict float: multiply-adds on the ordinary units.
//
// A block makes 128 x 128 with 256 threads, 8 x 8 each: 64 multiply-adds per 4 reads of 16 bytes from shared memory. k
// goes in steps of 16; the next step's rows are already in registers while this one is multiplied. Shapes with few tiles are
// split over k (gridDim.z): 1024 x 1280 is 80 tiles for 132 SMs, and ran at 18 of the 41 TFLOP/s of a large one.
#include "gemm.cuh"

#define KT 16
#define PAD 132 // row stride in floats: the transposed stores of a warp fall on different banks

extern "C" __global__ void __launch_bounds__(256, 2) gemm_f32(const __grid_constant__ LinearArgs a) {
    __shared__ __align__(16) float both[4][KT][PAD];
    auto A = both, B = both + 2;
    Mark mark{a.mark};
    dependencyWait();
    dependentsLaunch();
    const int m0 = blockIdx.x * 128, n0 = blockIdx.y * 128, tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
    const int allocated = (a.w.n + 15) & ~15, all = (a.w.k + KT - 1) / KT;
    const int share = (all + gridDim.z - 1) / gridDim.z, start = blockIdx.z * share, steps = min(start + share, all);
    const float* x = static_cast<const float*>(a.x);
    const float* w = static_cast<const float*>(a.w.data);
    float4 ra[2], rb[2]; // thread: rows r, r + 64, columns 4c .. 4c + 3 of the step
    const int r = threadIdx.x >> 2, c = (threadIdx.x & 3) * 4;
    auto load = [&](int step) {
        int k = step * KT + c;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int m = m0 + r + i * 64, n = n0 + r + i * 64;
            ra[i] = rb[i] = make_float4(0, 0, 0, 0);
            if (m < a.m && k < a.w.k) {
                ra[i] = *reinterpret_cast<const float4*>(x + (long long)m * a.ldx + k);
                if (k + 1 >= a.w.k) ra[i].y = 0;
                if (k + 2 >= a.w.k) ra[i].z = 0;
                if (k + 3 >= a.w.k) ra[i].w = 0;
            }
            if (n < allocated && k < a.w.k) rb[i] = __ldg(reinterpret_cast<const float4*>(w + (long long)n * a.w.ld + k));
        }
    };
    auto store = [&](int buffer) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int at = r + i * 64;
            A[buffer][c][at] = ra[i].x, A[buffer][c + 1][at] = ra[i].y, A[buffer][c + 2][at] = ra[i].z, A[buffer][c + 3][at] = ra[i].w;
            B[buffer][c][at] = rb[i].x, B[buffer][c + 1][at] = rb[i].y, B[buffer][c + 2][at] = rb[i].z, B[buffer][c + 3][at] = rb[i].w;
        }
    };
    float acc[8][8] = {}; // rows ty * 4 + {0..3}, 64 + ..., columns likewise: 16-byte reads without conflicts
    load(start);
    store(start & 1);
    __syncthreads();
    for (int step = start; step < steps; step++) {
        if (step + 1 < steps) load(step + 1);
        const int buffer = step & 1;
#pragma unroll
        for (int k = 0; k < KT; k++) {
            float p[8], q[8];
            *reinterpret_cast<float4*>(p) = *reinterpret_cast<const float4*>(&A[buffer][k][ty * 4]);
            *reinterpret_cast<float4*>(p + 4) = *reinterpret_cast<const float4*>(&A[buffer][k][64 + ty * 4]);
            *reinterpret_cast<float4*>(q) = *reinterpret_cast<const float4*>(&B[buffer][k][tx * 4]);
            *reinterpret_cast<float4*>(q + 4) = *reinterpret_cast<const float4*>(&B[buffer][k][64 + tx * 4]);
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) acc[i][j] += p[i] * q[j];
        }
        if (step + 1 < steps) {
            store(buffer ^ 1);
            __syncthreads();
        }
    }
    if (!combineSplits<64>(a, &acc[0][0])) return;
    float* tile = &both[0][0][0]; // which holds 64 rows of sums
#pragma unroll
    for (int h = 0; h < 2; h++) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float* v = acc[h * 4 + i];
            float* to = tile + (ty * 4 + i) * TILE_LD + tx * 4;
            *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
            *reinterpret_cast<float4*>(to + 64) = make_float4(v[4], v[5], v[6], v[7]);
        }
        __syncthreads();
        finishTile<64>(a, tile, m0 + h * 64, n0);
    }
}
